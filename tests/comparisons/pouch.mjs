// The peer of two of Mainstay's figures: how fast PouchDB replicates to express-pouchdb, and how fast two sides that both
// edited every record agree on winners. One server process, one client, LevelDB at both ends, plain HTTP on this machine.
//
//   node pouch.mjs offline --libraries FOLDER --records N     replicates N documents of about 600 bytes
//   node pouch.mjs converge --libraries FOLDER --records N    edits N documents on both sides, then replicates both ways
//
// Prints one JSON object.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: wanted, positionals } = parseArgs({
  allowPositionals: true,
  options: { libraries: { type: "string" }, records: { type: "string", default: "10000" }, folder: { type: "string" } },
});
const library = createRequire(join(resolve(wanted.libraries), "package.json"));
const records = Number(wanted.records);

/** The server's part, in a process of its own. */
const serve = () => {
  const PouchDB = library("pouchdb").defaults({ prefix: `${wanted.folder}/` });
  const app = library("express")();
  app.use("/", library("express-pouchdb")(PouchDB, { mode: "minimumForPouchDB", inMemoryConfig: true, logPath: join(wanted.folder, "log.txt") }));
  const server = app.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
};

const start = (folder) =>
  new Promise((ready, fail) => {
    const at = join(folder, "server");
    mkdirSync(at);
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "serve", "--libraries", wanted.libraries, "--folder", at], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    child.once("message", ({ port }) => ready({ child, url: `http://127.0.0.1:${port}/hub` }));
    child.once("exit", (code) => fail(new Error(`the server ended with ${code}`)));
  });

/** About as many bytes as a visit's change has. */
const visit = () => ({
  _id: randomUUID(),
  kind: "visit",
  patient: randomUUID(),
  site: randomUUID(),
  arrived: new Date().toISOString(),
  by: randomUUID(),
  state: "arrived",
  reason: Array.from({ length: 9 }, () => randomUUID()).join(" ").slice(0, 300),
});

const write = async (db, documents) => {
  for (let from = 0; from < documents.length; from += 500) {
    const outcome = await db.bulkDocs(documents.slice(from, from + 500));
    if (outcome.some((one) => one.error)) throw new Error("a document was not written");
  }
};

const timed = async (act) => {
  const began = performance.now();
  await act();
  return (performance.now() - began) / 1000;
};

const replicated = async (outcome) => {
  const { ok, doc_write_failures: failures } = await outcome;
  if (!ok || failures) throw new Error("a replication failed");
};

const offline = async (site, hub) => {
  await write(site, Array.from({ length: records }, visit));
  const seconds = await timed(() => replicated(site.replicate.to(hub)));
  const { doc_count: held } = await hub.info();
  if (held !== records) throw new Error(`the server holds ${held} of ${records}`);
  return seconds;
};

const converge = async (site, hub) => {
  await write(site, Array.from({ length: records }, visit));
  await replicated(site.replicate.to(hub));
  const edit = async (db, state) => {
    const { rows } = await db.allDocs({ include_docs: true });
    await write(db, rows.map(({ doc }) => ({ ...doc, state })));
  };
  await edit(site, "triaged");
  await edit(hub, "roomed");
  const seconds = await timed(async () => {
    await replicated(site.replicate.to(hub));
    await replicated(site.replicate.from(hub));
  });
  const winners = async (db) => (await db.allDocs()).rows.map(({ id, value }) => id + value.rev).join();
  if ((await winners(site)) !== (await winners(hub))) throw new Error("the two sides do not agree on winners");
  return seconds;
};

if (positionals[0] === "serve") {
  serve();
} else {
  const act = { offline, converge }[positionals[0]];
  if (!act) throw new Error("say offline or converge");
  const folder = mkdtempSync(join(tmpdir(), "mainstay-pouch-"));
  const { child, url } = await start(folder);
  try {
    const PouchDB = library("pouchdb");
    const site = new PouchDB(join(folder, "site"));
    const seconds = await act(site, new PouchDB(url));
    console.log(JSON.stringify({ records, seconds, per_second: records / seconds }));
    await site.close();
  } finally {
    child.removeAllListeners("exit");
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
