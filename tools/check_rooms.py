#!/usr/bin/env python3
"""Fails when a file under src/ names a room or a library that its room may not name.

The law is src/rooms.txt: a room may include itself and the rooms listed for it; a library listed for
a room may be named by that room only. Run: tools/check_rooms.py [repository root]
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
may_include, owner = {}, {}
for line in (root / "src/rooms.txt").read_text().splitlines():
    line = line.split("#")[0].strip()
    if not line:
        continue
    room, rooms, libraries = (part.strip() for part in line.split("|"))
    for named in rooms.split():
        if named not in may_include:
            sys.exit(f"src/rooms.txt: {room} names {named}, which does not stand above it")
    may_include[room] = set(rooms.split()) | {room}
    for library in libraries.split():
        owner[library] = room

include = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
bad, files = [], 0
for path in sorted((root / "src").rglob("*")):
    if path.suffix not in {".h", ".cc"}:
        continue
    files += 1
    room = path.relative_to(root / "src").parts[0]
    if room not in may_include:
        bad.append(f"{path}: {room} is no room of src/rooms.txt")
        continue
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = include.match(line)
        if not match:
            continue
        quote, name = match.groups()
        where = f"{path.relative_to(root)}:{number}"
        if quote == '"':
            other = name.split("/")[0]
            if "/" not in name:
                bad.append(f'{where}: write "{room}/{name}", from src/')
            elif other not in may_include[room]:
                bad.append(f"{where}: {room} may not include {name}")
        for library, its_room in owner.items():
            if name.startswith(library) and room != its_room:
                bad.append(f"{where}: only {its_room} may name <{name}>")
print("\n".join(bad) if bad else f"rooms: {files} files, all in order")
sys.exit(1 if bad or not files else 0)
