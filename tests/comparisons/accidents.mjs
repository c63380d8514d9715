// Two accidents, each played with several libraries and with Mainstay's real programs, and what is there afterwards. It
// judges nothing by the name of a library: every cell is read back from what the replicas hold.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values: wanted } = parseArgs({
  options: { libraries: { type: "string" }, mainstay: { type: "string" }, json: { type: "boolean", default: false } },
});
const library = createRequire(join(resolve(wanted.libraries), "package.json"));
const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
const version = (name) => dependencies[name];
const scratch = mkdtempSync(join(tmpdir(), "mainstay-accidents-"));

/** Records at the hub when it is backed up, and records written after. */
const BEFORE = 50;
const AFTER = 30;

/** What a clone's outcome is read from: lists as they are shown, at the hub and at either copy. */
const cloned = (said, hub, first, second) => ({ said, shown: { hub, first, second } });
const numbered = (from, count) => Array.from({ length: count }, (_, at) => `record ${from + at}`);
const count = (list, from, many) => numbered(from, many).filter((name) => list.includes(name)).length;

/** What a rollback's outcome is read from. `hub` and `site` are all records either shows. */
const rolledBack = (said, hub, site) => ({
  said,
  writtenSinceAtHub: `${count(hub, BEFORE, AFTER)} of ${AFTER}`,
  hubBefore: `hub ${hub.includes("H1") ? "yes" : "no"}, site ${site.includes("H1") ? "yes" : "no"}`,
  hubAfter: `hub ${hub.includes("H2") ? "yes" : "no"}, site ${site.includes("H2") ? "yes" : "no"}`,
  equal: [...hub].sort().join() === [...site].sort().join() ? "yes" : "no",
});

// --- Yjs ------------------------------------------------------------------------------------------------------------
const yjs = () => {
  const Y = library("yjs");
  const open = (client, from) => {
    const doc = new Y.Doc();
    if (from) Y.applyUpdate(doc, from);
    // Last: Yjs draws itself another id when it is given operations under its own.
    doc.clientID = client;
    return doc;
  };
  const list = (doc) => doc.getArray("records");
  const give = (from, to) => Y.applyUpdate(to, Y.encodeStateAsUpdate(from, Y.encodeStateVector(to)));
  const sync = (one, other) => (give(one, other), give(other, one));
  const clone = () => {
    const [hub, first] = [open(1), open(2)];
    list(first).push(["latex"]);
    sync(first, hub);
    const second = open(2, Y.encodeStateAsUpdate(first));
    list(first).push(["penicillin"]);
    list(second).push(["sulfa"]);
    sync(first, hub), sync(second, hub), sync(first, hub);
    return cloned("nothing", ...[hub, first, second].map((doc) => list(doc).toArray()));
  };
  const rollback = () => {
    let hub = open(1);
    const site = open(2);
    list(site).push(numbered(0, BEFORE));
    sync(site, hub);
    const backup = Y.encodeStateAsUpdate(hub);
    list(hub).push(["H1"]);
    list(site).push(numbered(BEFORE, AFTER));
    sync(site, hub);
    hub = open(1, backup);
    list(hub).push(["H2"]);
    sync(site, hub), sync(site, hub);
    return rolledBack("nothing", list(hub).toArray(), list(site).toArray());
  };
  return { clone, rollback };
};

// --- Loro -----------------------------------------------------------------------------------------------------------
const loro = () => {
  const { LoroDoc } = library("loro-crdt");
  const open = (peer, from) => {
    const doc = new LoroDoc();
    if (from) doc.import(from);
    doc.setPeerId(peer);
    return doc;
  };
  const list = (doc) => doc.getList("records");
  const push = (doc, names) => (names.forEach((name) => list(doc).push(name)), doc.commit());
  const give = (from, to) => to.import(from.export({ mode: "update", from: to.version() }));
  const sync = (one, other) => (give(one, other), give(other, one));
  const clone = () => {
    const [hub, first] = [open("1"), open("2")];
    push(first, ["latex"]);
    sync(first, hub);
    const second = open("2", first.export({ mode: "snapshot" }));
    push(first, ["penicillin"]);
    push(second, ["sulfa"]);
    sync(first, hub), sync(second, hub), sync(first, hub);
    return cloned("nothing", ...[hub, first, second].map((doc) => list(doc).toArray()));
  };
  const rollback = () => {
    let hub = open("1");
    const site = open("2");
    push(site, numbered(0, BEFORE));
    sync(site, hub);
    const backup = hub.export({ mode: "snapshot" });
    push(hub, ["H1"]);
    push(site, numbered(BEFORE, AFTER));
    sync(site, hub);
    hub = open("1", backup);
    push(hub, ["H2"]);
    sync(site, hub), sync(site, hub);
    return rolledBack("nothing", list(hub).toArray(), list(site).toArray());
  };
  return { clone, rollback };
};

// --- Automerge ------------------------------------------------------------------------------------------------------
const automerge = () => {
  const A = library("@automerge/automerge");
  const [hubActor, siteActor] = ["aa".repeat(16), "bb".repeat(16)];
  const push = (doc, names) => A.change(doc, (draft) => names.forEach((name) => draft.records.push(name)));
  const list = (doc) => [...doc.records];
  const said = [];
  const take = (into, from) => {
    try {
      return A.merge(into, A.clone(from));
    } catch (error) {
      said.push(String(error.message ?? error).split("\n")[0].slice(0, 60));
      return into;
    }
  };
  const start = () => A.change(A.init({ actor: siteActor }), (draft) => (draft.records = []));
  const clone = () => {
    said.length = 0;
    let first = push(start(), ["latex"]);
    let hub = A.load(A.save(first), { actor: hubActor });
    let second = A.load(A.save(first), { actor: siteActor });
    first = push(first, ["penicillin"]);
    second = push(second, ["sulfa"]);
    hub = take(hub, first);
    hub = take(hub, second);
    second = take(second, hub);
    first = take(first, hub);
    return cloned(said.length ? [...new Set(said)].join("; ") : "nothing", list(hub), list(first), list(second));
  };
  const rollback = () => {
    said.length = 0;
    let site = push(start(), numbered(0, BEFORE));
    let hub = A.load(A.save(site), { actor: hubActor });
    const backup = A.save(hub);
    hub = push(hub, ["H1"]);
    site = push(site, numbered(BEFORE, AFTER));
    hub = take(hub, site);
    site = take(site, hub);
    hub = A.load(backup, { actor: hubActor });
    hub = push(hub, ["H2"]);
    for (let round = 0; round < 2; round += 1) {
      hub = take(hub, site);
      site = take(site, hub);
    }
    return rolledBack(said.length ? [...new Set(said)].join("; ") : "nothing", list(hub), list(site));
  };
  return { clone, rollback };
};

// --- PouchDB --------------------------------------------------------------------------------------------------------
const pouchdb = (options) => () => {
  const PouchDB = library("pouchdb");
  const folder = (name) => join(scratch, `${options.checkpoint ?? "both"}-${name}`);
  const open = (name) => new PouchDB(folder(name));
  const copy = (from, to) => (rmSync(folder(to), { recursive: true, force: true }), cpSync(folder(from), folder(to), { recursive: true }));
  const told = [];
  const give = async (from, to) => {
    const outcome = await from.replicate.to(to, options);
    if (!outcome.ok) told.push(outcome.errors.map(String).join());
  };
  const sync = async (one, other) => (await give(one, other), await give(other, one));
  const said = () => (told.length ? told.join("; ") : "nothing, and reported success");
  const write = async (db, names) => {
    const outcome = await db.bulkDocs(names.map((name) => ({ _id: name })));
    if (outcome.some((one) => one.error)) throw new Error("a record was not written");
  };
  const ids = async (db) => (await db.allDocs()).rows.map((row) => row.id);
  const clone = async () => {
    const allergies = async (db) => (await db.get("patient")).list;
    const note = async (db, substance) => {
      const doc = await db.get("patient");
      await db.put({ ...doc, list: [...doc.list, substance] });
    };
    const hub = open("clone-hub");
    let first = open("clone-first");
    await first.put({ _id: "patient", list: ["latex"] });
    await sync(first, hub);
    await first.close();
    copy("clone-first", "clone-second");
    first = open("clone-first");
    const second = open("clone-second");
    await note(first, "penicillin");
    await note(second, "sulfa");
    await sync(first, hub), await sync(second, hub), await sync(first, hub);
    const conflicts = (await hub.get("patient", { conflicts: true }))._conflicts ?? [];
    const shown = [await allergies(hub), await allergies(first), await allergies(second)];
    const kept = conflicts.length ? `; ${conflicts.length} version kept aside for who asks` : "";
    return cloned(said() + kept, ...shown);
  };
  const rollback = async () => {
    let hub = open("hub");
    const site = open("site");
    await write(site, numbered(0, BEFORE));
    await sync(site, hub);
    await hub.close();
    copy("hub", "backup");
    hub = open("hub");
    await write(hub, ["H1"]);
    await write(site, numbered(BEFORE, AFTER));
    await sync(site, hub);
    await hub.close();
    copy("backup", "hub");
    hub = open("hub");
    await write(hub, ["H2"]);
    await sync(site, hub), await sync(site, hub);
    return rolledBack(said(), await ids(hub), await ids(site));
  };
  return { clone, rollback };
};

// --- Mainstay -------------------------------------------------------------------------------------------------------
const mainstay = () => {
  const play = (accident) => JSON.parse(execFileSync(resolve(wanted.mainstay), [accident, "--json"], { stdio: ["ignore", "pipe", "inherit"] }));
  const clone = () => {
    const { said, shown } = play("clone");
    return cloned(said, shown.hub, shown.first, shown.second);
  };
  const rollback = () => {
    const { said, hub, site } = play("rollback");
    return rolledBack(said, hub, site);
  };
  return { clone, rollback };
};

const players = [
  [`Yjs ${version("yjs")}`, yjs],
  [`Loro ${version("loro-crdt")}`, loro],
  [`Automerge ${version("@automerge/automerge")}`, automerge],
  [`PouchDB ${version("pouchdb")}`, pouchdb({})],
  ["  checkpoint at the source only", pouchdb({ checkpoint: "source" })],
  ["Mainstay", mainstay],
];

const table = (title, columns, rows) => {
  const widths = columns.map((column, at) => Math.max(column.length, ...rows.map((row) => row[at].length)));
  const line = (cells) => cells.map((cell, at) => cell.padEnd(widths[at])).join("  ").trimEnd();
  console.log(`\n== ${title}\n${line(columns)}\n${line(widths.map((width) => "-".repeat(width)))}`);
  rows.forEach((row) => console.log(line(row)));
};

const words = (list) => [...list].sort().join(", ");
const has = (list, name) => (list.includes(name) ? "yes" : "LOST");

try {
  const outcomes = [];
  for (const [name, make] of players) {
    const { clone, rollback } = make();
    outcomes.push({ name: name.trim(), clone: await clone(), rollback: await rollback(), label: name });
  }
  if (wanted.json) {
    console.log(JSON.stringify(outcomes.map(({ label, ...outcome }) => outcome)));
  } else {
    table(
      "A replica is copied with its identity; one copy adds penicillin, the other sulfa; both are synced with the hub",
      ["", "penicillin at the hub", "sulfa at the hub", "the hub shows", "first copy shows", "second copy shows", "it said"],
      outcomes.map(({ label, clone: { said, shown } }) => [
        label, has(shown.hub, "penicillin"), has(shown.hub, "sulfa"), words(shown.hub), words(shown.first), words(shown.second), said,
      ]),
    );
    table(
      "The hub goes back to a backup from before its own H1 and a site's 30 records, writes H2, and is synced with the site",
      ["", "of the 30 at the hub", "H1", "H2", "both sides equal", "it said"],
      outcomes.map(({ label, rollback: found }) => [
        label, found.writtenSinceAtHub, found.hubBefore, found.hubAfter, found.equal, found.said,
      ]),
    );
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
