#!/usr/bin/env python3
"""A second implementation of what SPEC.md says, small and slow, that runs the test vectors beside it.

    python3 check.py            runs every file here and below; exits 1 when one case differs

It writes bytes, links chains, merges records, chooses what is shown, and sums proofs. It does not read bytes, so cases that
begin with bytes are counted as passed over. It uses nothing but Python's standard library and shares nothing with the engine.
"""

import hashlib
import hmac
import json
import pathlib
import sys


# --- canonical CBOR -----------------------------------------------------------------------------------------------------
def head(major, value):
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << 8 * size:
            return bytes([major << 5 | extra]) + value.to_bytes(size, "big")
    raise ValueError("the number is too large")


def integer(value):
    return head(0, value) if value >= 0 else head(1, -1 - value)


def raw_bytes(text):
    value = bytes.fromhex(text)
    return head(2, len(value)) + value


def array(items):
    items = list(items)
    return head(4, len(items)) + b"".join(items)


def keyed(known, unknown=()):
    """A map of integer keys in ascending order; keys of a newer version stand where their number puts them."""
    entries = {int(key): bytes.fromhex(value) for key, value in dict(unknown).items()}
    entries.update({key: value for key, value in known.items() if value is not None})
    return head(5, len(entries)) + b"".join(integer(key) + entries[key] for key in sorted(entries))


def boolean(value):
    return b"\xf5" if value else b"\xf4"


# --- objects ------------------------------------------------------------------------------------------------------------
ACTS = ["assert", "withdraw", "refute", "retract"]


def dot(value):
    return array([raw_bytes(value["replica"]), integer(value["counter"])])


def time(value):
    return array([integer(value["wall_ms"]), integer(value["logical"])])


def actor(value):
    return array([raw_bytes(value["who"]), integer(value["channel"])])


def ids(value):
    return array(raw_bytes(one) for one in value)


def vector(value):
    entries = sorted(value.get("entries", {}).items())
    aliases = value.get("aliases", [])
    return array([
        array(
            array([raw_bytes(replica), integer(entry["upto"])] + [integer(n) for n in sorted(entry.get("except", []))])
            for replica, entry in entries
        ),
        array(array([dot(alias["dot"]), raw_bytes(alias["change"])]) for alias in aliases),
    ])


def header(value):
    names = value.get("names")
    correlation = value.get("correlation", value["change"])
    return keyed({
        1: raw_bytes(value["change"]),
        2: dot(value["dot"]),
        3: time(value["at"]),
        4: raw_bytes(value["boot"]),
        5: integer(value["monotonic_ms"]),
        6: integer(value["event_ms"]),
        7: actor(value["actor"]),
        8: integer(value["action"]),
        9: integer(value["kind"]),
        10: raw_bytes(value["record"]),
        11: vector(value.get("saw", {})),
        12: array(array([integer(n["field"]), ids(n["ids"])]) for n in names) if names else None,
        13: raw_bytes(correlation) if correlation != value["change"] else None,
    }, value.get("unknown", {}))


def with_seen(parts, value):
    return array(parts + ([bytes.fromhex(value["seen"])] if value.get("seen") is not None else []))


def payload(value):
    fields, elements = value.get("fields"), value.get("elements")
    return keyed({
        1: array(with_seen([integer(w["field"]), bytes.fromhex(w["value"])], w) for w in fields) if fields else None,
        2: array(
            array([integer(w["field"]), integer(ACTS.index(w["act"])), bytes.fromhex(w["value"])]) for w in elements
        ) if elements else None,
    }, value.get("unknown", {}))


def origin(value):
    return array([dot(value["dot"]), time(value["at"]), integer(value["event_ms"]), actor(value["actor"])])


def state(value):
    registers = {}
    for field, register in value.get("registers", {}).items():
        values = (
            with_seen([raw_bytes(change), origin(live["origin"]), bytes.fromhex(live["value"])], live)
            for change, live in sorted(register["values"].items())
        )
        registers[int(field)] = array([array(values), ids(sorted(register.get("unseen", [])))])
    elements = {}
    for field, said in value.get("elements", {}).items():
        elements[int(field)] = array(
            array([
                raw_bytes(change), origin(e["origin"]), integer(ACTS.index(e["act"])), bytes.fromhex(e["value"]),
                ids(sorted(e.get("names", []))),
            ])
            for change, e in sorted(said.items())
        )
    return keyed({
        1: integer(value["kind"]),
        2: raw_bytes(value["record"]),
        3: vector(value["vector"]),
        4: keyed(registers),
        5: keyed(elements),
    }, value.get("unknown", {}))


# --- messages -----------------------------------------------------------------------------------------------------------
def some(values, each):
    return array(each(value) for value in values) if values else None


def push_request(m):
    change = lambda c: array([raw_bytes(c["header"]), raw_bytes(c["salt"]), raw_bytes(c["payload"])])
    return keyed({
        0: integer(1), 1: raw_bytes(m["epoch"]), 2: raw_bytes(m["replica"]), 3: integer(m["after"]),
        4: raw_bytes(m["previous"]), 5: array(map(change, m["changes"])), 6: raw_bytes(m["last"]),
    })


def push_reply(m):
    return keyed({
        0: integer(1), 1: raw_bytes(m["epoch"]), 2: raw_bytes(m["replica"]), 3: integer(m["accepted"]),
        4: raw_bytes(m["hash"]), 5: some(m.get("quarantined"), lambda q: array(map(integer, q))),
    })


def pull_request(m):
    cursor = lambda c: array([
        raw_bytes(c["scope"]), integer(c["lane"]), integer(c["generation"]), integer(c["sequence"]),
    ])
    willing = lambda w: array([raw_bytes(w["scope"]), integer(w["lane"]), raw_bytes(w["record"]), integer(w["sequence"])])
    return keyed({
        0: integer(1), 1: raw_bytes(m["epoch"]), 2: raw_bytes(m["replica"]), 3: array(map(cursor, m["cursors"])),
        4: integer(m["bytes_max"]), 5: integer(m["wait_ms"]), 6: some(m.get("willing"), willing),
    })


def row(value):
    if "gone" in value:
        gone = value["gone"]
        return array([integer(gone["sequence"]), raw_bytes(gone["record"]), vector(gone["vector"]), boolean(True)])
    told = value["state"]
    parts = [integer(told["sequence"]), raw_bytes(state(told["state"]).hex())]
    return array(parts + ([boolean(True)] if told["offered"] else []))


def page(p):
    return keyed({
        1: raw_bytes(p["epoch"]), 2: raw_bytes(p["replica"]), 3: integer(p["accepted"]), 4: raw_bytes(p["hash"]),
        5: raw_bytes(p["scope"]), 6: integer(p["lane"]), 7: integer(p["generation"]), 8: integer(p["from"]),
        9: integer(p["to"]), 10: integer(p["head"]), 11: array(map(row, p["rows"])),
        12: raw_bytes(p["root"]) if "root" in p else None,
    })


def pull_reply(m):
    return keyed({
        0: integer(1), 1: array(map(page, m["pages"])), 2: integer(m["hub_ms"]),
        3: integer(m["series"]) if "series" in m else None,
        4: boolean(m["ehr_reached"]) if "ehr_reached" in m else None,
        5: integer(m["ehr_polled_ms"]) if "ehr_polled_ms" in m else None,
        6: some(m.get("follows"), lambda f: array([raw_bytes(f[0]), integer(f[1])])),
    })


# --- chain and proof ----------------------------------------------------------------------------------------------------
def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def genesis(replica):
    return sha256(b"mainstay chain 1", bytes.fromhex(replica))


def chain(given):
    at, links = genesis(given["replica"]), []
    for change in given["changes"]:
        digest = sha256(bytes.fromhex(change["salt"]), bytes.fromhex(change["payload"]))
        at = sha256(at, bytes.fromhex(change["header"]), digest)
        links.append({"payload_digest": digest.hex(), "hash": at.hex()})
    return {"genesis": genesis(given["replica"]).hex(), "links": links}


def add(one, two):
    words = (
        (int.from_bytes(one[i:i + 8], "big") + int.from_bytes(two[i:i + 8], "big")) % (1 << 64) for i in range(0, 32, 8)
    )
    return b"".join(word.to_bytes(8, "big") for word in words)


def proof(given):
    zero = bytes(32)
    leaves, buckets = [], {}
    for text in given["states"]:
        canonical = bytes.fromhex(text)
        leaf = hmac.new(bytes.fromhex(given["key"]), canonical, "sha256").digest()
        # The record's id is the 16 bytes after `key 2, byte string of 16`, which follow the kind.
        bucket = canonical[canonical.index(b"\x02\x50") + 2]
        leaves.append({"bucket": bucket, "leaf": leaf.hex()})
        buckets[bucket] = add(buckets.get(bucket, zero), leaf)
    root = sha256(
        b"mainstay root 1", bytes.fromhex(given["scope"]), bytes([given["lane"]]),
        b"".join(buckets.get(bucket, zero) for bucket in range(256)),
    )
    sums = {str(bucket): value.hex() for bucket, value in buckets.items()}
    return {"leaves": leaves, "buckets": sums, "root": root.hex()}


# --- version vectors ----------------------------------------------------------------------------------------------------
class Vector:
    def __init__(self, said=None):
        said = said or {}
        self.entries = {r: (e["upto"], set(e.get("except", []))) for r, e in said.get("entries", {}).items()}
        self.aliases = {(a["dot"]["replica"], a["dot"]["counter"]): a["change"] for a in said.get("aliases", [])}

    def contains(self, replica, counter):
        upto, apart = self.entries.get(replica, (-1, set()))
        return counter <= upto and counter not in apart

    def count(self, replica, counter, apart=False):
        upto, exceptions = self.entries.get(replica, (0, set()))
        exceptions = exceptions | {counter} if apart else exceptions - {counter}
        self.entries[replica] = (max(upto, counter), exceptions)

    def within(self, other):
        for replica, (upto, apart) in self.entries.items():
            if replica not in other.entries:
                return False
            theirs, others = other.entries[replica]
            if upto > theirs or any(n <= upto and n not in apart for n in others):
                return False
        return True

    def join(self, other):
        joined = Vector()
        for replica in self.entries.keys() | other.entries.keys():
            one, two = self.entries.get(replica, (0, set())), other.entries.get(replica, (0, set()))
            apart = {n for n in one[1] if n > two[0] or n in two[1]} | {n for n in two[1] if n > one[0] or n in one[1]}
            joined.entries[replica] = (max(one[0], two[0]), apart)
        joined.aliases = self.aliases | other.aliases
        return joined

    def say(self):
        said = {}
        if self.entries:
            said["entries"] = {
                replica: {"upto": upto} | ({"except": sorted(apart)} if apart else {})
                for replica, (upto, apart) in self.entries.items()
            }
        if self.aliases:
            said["aliases"] = [
                {"dot": {"replica": r, "counter": n}, "change": change} for (r, n), change in sorted(self.aliases.items())
            ]
        return said


def comparison(given):
    left, right = Vector(given["left"]), Vector(given["right"])
    said = {
        (True, True): "same", (True, False): "before", (False, True): "after", (False, False): "concurrent",
    }[left.within(right), right.within(left)]
    return {"left_is": said, "joined": left.join(right).say()}


def counting(given):
    counted = Vector()
    for step in given["steps"]:
        ((what, value),) = step.items()
        at = value["dot"] if what == "alias" else value
        key = (at["replica"], at["counter"])
        counted.count(*key, apart=what == "set-apart" or (what == "alias" and value["set_apart"]))
        if what == "alias":
            counted.aliases[key] = value["of"]
    answers = []
    for at in given["ask"]:
        upto, apart = counted.entries.get(at["replica"], (-1, set()))
        n = at["counter"]
        answers.append({"contained": n <= upto and n not in apart, "counted": n <= upto, "exception": n in apart})
    return {"vector": counted.say(), "answers": answers}


# --- records ------------------------------------------------------------------------------------------------------------
def origin_of(h):
    return {"dot": h["dot"], "at": h["at"], "event_ms": h["event_ms"], "actor": h["actor"]}


def named(h, field):
    return next((n["ids"] for n in h.get("names", []) if n["field"] == field), [])


def apply(changes):
    first = changes[0]["header"]
    counted, registers, elements, applied = Vector(), {}, {}, set()
    for change in changes:
        h, p = change["header"], change["payload"]
        for write in p.get("fields", []):
            register = registers.setdefault(write["field"], {"values": {}, "unseen": set()})
            for one in named(h, write["field"]):
                if register["values"].pop(one, None) is None and one not in applied and one != h["change"]:
                    register["unseen"].add(one)
            if h["change"] not in register["unseen"]:
                live = {"origin": origin_of(h), "value": write["value"]}
                register["values"][h["change"]] = live | ({"seen": write["seen"]} if write.get("seen") else {})
        for register in registers.values():
            register["unseen"].discard(h["change"])
        for write in p.get("elements", []):
            said = {"origin": origin_of(h), "act": write["act"], "value": write["value"]}
            names = sorted(set(named(h, write["field"])))
            elements.setdefault(write["field"], {})[h["change"]] = said | ({"names": names} if names else {})
        counted.count(h["dot"]["replica"], h["dot"]["counter"])
        applied.add(h["change"])
    return say_state(first["kind"], first["record"], counted, registers, elements)


def say_state(kind, record, counted, registers, elements, unknown=None):
    said = {"kind": kind, "record": record, "vector": counted.say()}
    if registers:
        said["registers"] = {
            str(field): {"values": r["values"]} | ({"unseen": sorted(r["unseen"])} if r["unseen"] else {})
            for field, r in registers.items()
        }
    if elements:
        said["elements"] = {str(field): of for field, of in elements.items()}
    if unknown:
        said["unknown"] = unknown
    return said


def join(given):
    left, right, applied = given["left"], given["right"], set(given["applied"])
    vectors = Vector(left["vector"]), Vector(right["vector"])
    joined, registers = vectors[0].join(vectors[1]), {}
    fields = left.get("registers", {}).keys() | right.get("registers", {}).keys()
    for field in fields:
        sides = [s.get("registers", {}).get(field, {"values": {}}) for s in (left, right)]
        values = {}
        for mine, theirs, their_vector in ((*sides, vectors[1]), (*sides[::-1], vectors[0])):
            for change, live in mine["values"].items():
                at = live["origin"]["dot"]
                arrived = their_vector.contains(at["replica"], at["counter"]) or change in theirs.get("unseen", [])
                if change in theirs["values"] or not arrived:
                    values[change] = live
        unseen = {one for side in sides for one in side.get("unseen", [])}
        unseen -= applied | sides[0]["values"].keys() | sides[1]["values"].keys()
        registers[field] = {"values": values, "unseen": unseen}
    elements = {}
    for side in (left, right):
        for field, of in side.get("elements", {}).items():
            elements.setdefault(field, {}).update(of)
    for (replica, counter), change in list(joined.aliases.items()):
        if change in applied:
            joined.count(replica, counter)
    unknown = {}
    for side in (left, right):
        for key, value in side.get("unknown", {}).items():
            unknown[key] = max(unknown.get(key, ""), value)
    said = say_state(left["kind"], left["record"], joined, registers, elements, unknown)
    return {"state": state(said).hex(), "says": said}


def number(text):
    """The integer that a CBOR item is; nothing for any other item."""
    item = bytes.fromhex(text)
    major, low = item[0] >> 5, item[0] & 31
    if major > 1 or low > 27:
        return None
    value = low if low < 24 else int.from_bytes(item[1:], "big")
    return value if major == 0 else -1 - value


def sort_key(value):
    return value if value is not None else float("-inf")


def entered(of):
    o = of["origin"]
    return (o["at"]["wall_ms"], o["at"]["logical"], o["dot"]["replica"], o["dot"]["counter"])


def show(said, rule):
    ((what, how),) = rule.items()
    field = str(how["field"])
    values = said.get("registers", {}).get(field, {"values": {}})["values"]
    elements = said.get("elements", {}).get(field, {})
    of_act = lambda act: {change: e for change, e in elements.items() if e["act"] == act}
    if what in ("latest", "earliest", "worst"):
        key = {
            "latest": lambda c: entered(values[c]),
            "worst": lambda c: (sort_key(number(values[c]["value"])), entered(values[c])),
            "earliest": lambda c: (sort_key(number(values[c]["value"])), entered(values[c])),
        }[what]
        choose = min if what == "earliest" else max
        return {"shown": choose(values, key=key) if values else None}
    if what == "owner":
        own = [c for c in values if values[c]["origin"]["actor"]["channel"] == how["channel"]]
        owned = max(own, key=lambda c: entered(values[c])) if own else None
        shown = owned or (max(values, key=lambda c: entered(values[c])) if values else None)
        return {"shown": shown, "proposals": sorted(c for c in values if c != owned)}
    if what == "ask":
        if not values:
            return {"nothing": True}
        if len({live["value"] for live in values.values()}) == 1:
            return {"agreed": min(values)}
        seen = {live.get("seen") for live in values.values()}
        standing = seen.pop() if len(seen) == 1 else None
        return {"open": {"standing": standing, "values": sorted(values, key=lambda c: entered(values[c]))}}
    if what == "assert":
        asserted, refutations = of_act("assert"), of_act("refute")
        refuted = any(set(asserted) <= set(r.get("names", [])) for r in refutations.values())
        return {
            "active": bool(asserted) and not refuted, "asserted": sorted(asserted), "refuted_by": sorted(refutations),
        }
    if what == "furthest":
        withdrawn = {one for e in of_act("withdraw").values() for one in e.get("names", [])}
        standing = {c: e for c, e in of_act("assert").items() if c not in withdrawn}
        order = sorted(standing, key=lambda c: (standing[c]["origin"]["event_ms"], entered(standing[c])))
        passed_by = [tuple(pair) for pair in how["passed_by"]]
        ends = []
        for c in order:
            at = number(standing[c]["value"])
            passed = any((at, number(o["value"])) in passed_by for o in standing.values())
            if not passed and all(standing[e]["value"] != standing[c]["value"] for e in ends):
                ends.append(c)
        return {"ends": ends, "transitions": order}
    if what == "retract":
        live = {c for r in said.get("registers", {}).values() for c in r["values"]}
        live |= {c for of in said.get("elements", {}).values() for c, e in of.items() if e["act"] != "retract"}
        return {"retracted": any(live <= set(e.get("names", [])) for e in of_act("retract").values())}
    raise ValueError(f"no rule is called {what}")


def merge(given):
    said = apply(given["changes"])
    for order in given.get("also_in_order", []):
        assert state(apply([given["changes"][i] for i in order])) == state(said), "another order, another state"
    return {"state": state(said).hex(), "says": said, "shown": [show(said, rule) for rule in given["rules"]]}


# --- writing ------------------------------------------------------------------------------------------------------------
NULL = "f6"


def agreed(base, field):
    shown = show(base or {}, {"ask": {"field": field}})
    if "agreed" in shown:
        return base["registers"][str(field)]["values"][shown["agreed"]]["value"]
    return shown["open"]["standing"] if "open" in shown else None


def differs(write, shown):
    if not write["shown"]:
        return write["value"] != NULL or write.get("was", NULL) != NULL
    if len(write["shown"]) > 1:
        return True
    register = (shown or {}).get("registers", {}).get(str(write["field"]), {"values": {}})
    stored = register["values"].get(write["shown"][0], {}).get("value")
    return write.get("was", stored) != write["value"]


def compose(given):
    draft, shown = given["draft"], given.get("shown")
    fields = [w for w in draft.get("fields", []) if differs(w, shown)]
    elements = draft.get("elements", [])
    if not fields and not elements:
        return {"nothing": True}
    names = [{"field": w["field"], "ids": sorted(set(w["shown"]))} for w in fields]
    names += [{"field": e["field"], "ids": sorted(set(e["names"]))} for e in elements]
    names = sorted((n for n in names if n["ids"]), key=lambda n: n["field"])
    saw = Vector()
    for n in names if shown else []:
        held = dict(shown.get("registers", {}).get(str(n["field"]), {"values": {}})["values"])
        held |= shown.get("elements", {}).get(str(n["field"]), {})
        for change in held:
            if change in n["ids"]:
                at = held[change]["origin"]["dot"]
                saw.count(at["replica"], at["counter"])
    h = {
        "change": given["change"], "dot": given["dot"], "at": given["at"], "boot": given["boot"],
        "monotonic_ms": given["monotonic_ms"], "event_ms": draft["event_ms"], "actor": draft["actor"],
        "action": draft["action"], "kind": draft["kind"], "record": draft["record"], "saw": saw.say(),
    }
    if names:
        h["names"] = names
    if draft.get("correlation", given["change"]) != given["change"]:
        h["correlation"] = draft["correlation"]
    p = {}
    if fields:
        p["fields"] = []
        for w in fields:
            seen = agreed(given.get("base"), w["field"]) if w.get("ask") else None
            p["fields"].append({"field": w["field"], "value": w["value"]} | ({"seen": seen} if seen else {}))
    if elements:
        p["elements"] = [{"field": e["field"], "act": ACTS[e["act"]], "value": e["value"]} for e in elements]
    return {"header": h, "payload": p}


# --- hybrid time --------------------------------------------------------------------------------------------------------
REMOTE_LEAD_MAX_MS = 2_000


def clock(given):
    last, after = (0, 0), []
    for step in given["steps"]:
        ((what, how),) = step.items()
        now = how["now_ms"]
        if what == "observe":
            remote = (how["remote"]["wall_ms"], how["remote"]["logical"])
            if remote > last and remote[0] <= now + REMOTE_LEAD_MAX_MS:
                last = remote
        elif now > last[0]:
            last = (now, 0)
        else:
            last = (last[0], last[1] + 1) if last[1] < 2**32 - 1 else (last[0] + 1, 0)
        after.append({"wall_ms": last[0], "logical": last[1]})
    return {"after_each": after}


def manifest(said):
    """Its bytes, and what the hub signs of them."""
    note = lambda c: array([raw_bytes(c["digest"]), integer(c["bytes"]), integer(c["rows"]), integer(c["to"])])
    written = keyed({
        1: raw_bytes(said["epoch"]), 2: raw_bytes(said["scope"]), 3: integer(said["lane"]),
        4: integer(said["generation"]), 5: integer(said["from"]), 6: array(note(chunk) for chunk in said["chunks"]),
    })
    return {"bytes": written.hex(), "signed": (b"mainstay snapshot 1" + sha256(written)).hex()}


# --- the files ----------------------------------------------------------------------------------------------------------
WRITERS = {"header": header, "payload": payload, "state": state}
MESSAGES = {
    "push-request": push_request, "push-reply": push_reply, "pull-request": pull_request, "pull-reply": pull_reply,
}
REST = {
    "chain": chain, "proof": proof, "merge": merge, "join": join, "compose": compose, "comparison": comparison,
    "counting": counting, "clock": clock,
}


def outcome(kind, case):
    """What comes out, and what is to be compared of what the file says; nothing when this cannot be asked here."""
    given, expected = case["in"], case["out"]
    if kind in REST:
        return REST[kind](given), expected
    if kind == "manifest" and "says" in given:
        return manifest(given["says"]), expected
    if "says" not in given:
        return None
    if kind in WRITERS:
        return {"bytes": WRITERS[kind](given["says"]).hex()}, expected
    # Compression may differ from one library to the next; what is compressed may not.
    return {"cbor": MESSAGES[kind](given["says"]).hex()}, {"cbor": expected["cbor"]}


def main():
    run = passed_over = 0
    wrong = []
    for path in sorted(pathlib.Path(__file__).parent.rglob("*.json")):
        file = json.loads(path.read_text())
        for case in file["cases"]:
            asked = outcome(file["kind"], case)
            if asked is None:
                passed_over += 1
                continue
            run += 1
            if asked[0] != asked[1]:
                wrong.append(f"{path.name}: {case['name']}: this says {asked[0]}, the file {asked[1]}")
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"{run} run, {len(wrong)} differ, {passed_over} begin with bytes and are passed over")
    return 1 if wrong or not run else 0


if __name__ == "__main__":
    sys.exit(main())
