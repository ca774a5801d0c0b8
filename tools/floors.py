#!/usr/bin/env python3
"""Lists the modules of a crate by floor and fails on a circle, or on a type name that two modules define.

A module stands one floor above the highest module that it uses, so every `use` points down. The script reads the `use`
lines and the `crate::`, `super::` and `self::` paths of a crate's non-test code. A name that is reached through a
re-export (`pub use`) counts as a use of the module that defines it; a re-export that its own module has no use for
counts as none. A circle is a set of modules
that use each other, directly or through others: its members can only be read, changed and compiled together. Types that are
defined in functions, and names of associated types, may repeat.

    tools/floors.py builder models harness      # package folders; exit code 1 if there is either
"""

import re
import sys
from pathlib import Path


# Types of a module, which begin a line; those of functions and traits are indented.
TYPE = r"^(?:pub(?:\([^)]*\))?\s+)?(?:struct|enum|trait|type|union)\s+(\w+)"


def without_comments(text):
    """Blanks comments and the contents of string literals, and leaves line breaks where they are."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'', re.DOTALL
    )
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())
    return pattern.sub(blank, text)


def without_tests(text):
    """Removes items under `#[cfg(test)]`."""
    while match := re.search(r"#\[cfg\(test\)\]", text):
        depth, end = 0, match.end()
        while end < len(text):
            character = text[end]
            end += 1
            if character in "{[(":
                depth += 1
            elif character in "}])":
                depth -= 1
            if depth == 0 and (character == ";" or character == "}"):
                break
        text = text[: match.start()] + text[end:]
    return text


def expand(tree):
    """The paths of a use tree: `a::{b, c::{self, d as e}}` gives a::b, a::c, a::c::d with the names b, c, e."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = (part.strip() for part in tree.partition(" as "))
        parts = [part.strip() for part in path.split("::")]
        if parts[-1] == "self" and len(parts) > 1:
            parts.pop()
        return [(parts, alias or parts[-1])]
    prefix = [part.strip() for part in tree[:brace].rstrip().removesuffix("::").split("::") if part.strip()]
    paths, depth, start = [], 0, brace + 1
    for place in range(brace + 1, len(tree)):
        if tree[place] == "{":
            depth += 1
        at_end = tree[place] == "}" and depth == 0
        if tree[place] == "}":
            depth -= 1
        if (tree[place] == "," and depth == 0) or at_end:
            branch = tree[start:place].strip()
            if branch == "self":
                paths.append((prefix, prefix[-1]))
            elif branch:
                paths += [(prefix + path, name) for path, name in expand(branch)]
            start = place + 1
        if at_end:
            break
    return paths


class Module:
    """A file of a crate."""

    def __init__(self, path, name):
        self.path, self.name = path, name
        self.text = without_tests(without_comments(path.read_text()))
        self.uses = []
        self.exports = {}
        self.globs = []

        def note(match):
            for path, name in expand(match.group(2)):
                if name == "*":
                    (self.globs if match.group(1) else self.uses).append(path[:-1])
                elif match.group(1):
                    self.exports[name] = path
                else:
                    self.uses.append(path)
            return re.sub(r"[^\n]", " ", match.group())

        rest = re.sub(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", note, self.text)
        for match in re.finditer(r"\b(?:crate|self|super)(?:::\w+)+", rest):
            self.uses.append(match.group().split("::"))
        rest = re.sub(r"\bmod\s+\w+\s*;", "", rest)
        # A re-exported name that the module itself uses.
        self.uses += [path for name, path in self.exports.items() if re.search(rf"\b{name}\b", rest)]
        # Paths that begin with a name in scope, such as `stage::score` after `use super::stage` or in the parent of `stage`.
        for match in re.finditer(r"(?<![\w:])([a-z_]\w*)(?:::\w+)+", rest):
            self.uses.append(["self", *match.group().split("::")])


class Crate:
    """The modules of a crate by name; the root is the empty name."""

    def __init__(self, source, root):
        self.modules = {(): Module(source / root, ())}
        waiting = [()]
        while waiting:
            name = waiting.pop()
            module = self.modules[name]
            below = source.joinpath(*name)
            for child in re.findall(r"\bmod\s+(\w+)\s*;", module.text):
                path = next(
                    (path for path in [below / f"{child}.rs", below / child / "mod.rs"] if path.exists()), None
                )
                if path is not None:
                    self.modules[(*name, child)] = Module(path, (*name, child))
                    waiting.append((*name, child))

    def resolve(self, module, path, trail=()):
        """The name of the module that defines what a path of a module names; None if it is outside the crate."""
        name = module.name
        head, *rest = path
        if head == "crate":
            name = ()
        elif head == "super":
            name = name[:-1]
        elif head != "self":
            # A path relative to this module, or to another crate.
            if (*name, head) not in self.modules:
                return None
            rest = path
        while rest and rest[0] in ("super", "self"):
            name = name[:-1] if rest[0] == "super" else name
            rest = rest[1:]
        while rest and (*name, rest[0]) in self.modules:
            name, rest = (*name, rest[0]), rest[1:]
        if not rest or (name, rest[0]) in trail:
            return name
        holder = self.modules[name]
        target = holder.exports.get(rest[0])
        if target is not None:
            found = self.resolve(holder, [*target, *rest[1:]], (*trail, (name, rest[0])))
            return name if found is None else found
        for glob in holder.globs:
            found = self.resolve(holder, [*glob, *rest], (*trail, (name, rest[0])))
            if found is not None and found != self.resolve(holder, glob):
                return found
        return name

    def graph(self):
        """Which modules each module uses."""
        edges = {}
        for name, module in self.modules.items():
            used = {self.resolve(module, path) for path in module.uses}
            edges[name] = used - {name, None}
        # The root only names its modules.
        edges[()] = set()
        return edges


def components(edges):
    """Sets of modules that use each other, bottom first (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def twins(crate):
    """The type names that several modules define, with these modules."""
    homes = {}
    for name, module in crate.modules.items():
        for type_name in set(re.findall(TYPE, module.text, re.MULTILINE)):
            homes.setdefault(type_name, []).append(name)
    return {type_name: found for type_name, found in sorted(homes.items()) if len(found) > 1}


def report(folder, root):
    """Prints the floors, circles and twin types of a crate; the number of circles and twins."""
    crate = Crate(folder / "src", root)
    edges = crate.graph()
    floors = {}
    found = components(edges)
    for members in found:
        below = [floors[target] for node in members for target in edges[node] if target not in members]
        for node in members:
            floors[node] = max(below, default=-1) + 1
    shown = lambda node: "::".join(node) or "(root)"
    print(f"{folder.name} ({root})")
    for floor in sorted(set(floors.values()), reverse=True):
        print(f"  {floor:2}  {', '.join(sorted(shown(node) for node in floors if floors[node] == floor and node))}")
    circles = [members for members in found if len(members) > 1]
    for members in circles:
        print(f"  circle of {len(members)}: {', '.join(map(shown, members))}")
        for node in members:
            for target in sorted(edges[node] & set(members)):
                print(f"    {shown(node)} -> {shown(target)}")
    same = twins(crate)
    for type_name, found in same.items():
        print(f"  {type_name} is a type of {', '.join(map(shown, found))}")
    return len(circles) + len(same)


def main():
    folders = [Path(argument) for argument in sys.argv[1:]] or [Path("builder"), Path("models"), Path("harness")]
    crates = [(folder, root) for folder in folders for root in ("lib.rs", "main.rs") if (folder / "src" / root).exists()]
    sys.exit(1 if sum([report(*crate) for crate in crates]) else 0)


if __name__ == "__main__":
    main()
