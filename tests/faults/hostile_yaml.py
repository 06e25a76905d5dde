"""YAML that is more than it looks, or is no settings at all."""


def aliases(first: str, following: str, levels: int) -> str:
    """An anchor, and `levels` more, each of which names the one before it ten times."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels + 1):
        named = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {following.format(named)}")
    return "\n".join(lines) + "\n"


def documents(canary: str) -> dict[str, str]:
    """Documents by what they are; where one ran, it would make the file `canary`."""
    run = f"os.system ['touch {canary}']"
    opened = f"subprocess.Popen [['touch', '{canary}']]"
    return {
        "apply": f"train_teacher: !!python/object/apply:{run}\n",
        "new": f"train_teacher: !!python/object/new:{opened}\n",
        "long tag": f"!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {canary}']\n",
        "tag handle": f"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:{run}\n",
        "name": "train_teacher: !!python/name:os.system\n",
        "module": "train_teacher: !!python/module:os\n",
        "tuple": "train_teacher: !!python/tuple [1, 2]\n",
        "unknown tag": "train_teacher: !reference [a]\n",
        "bytes": "train_teacher: !!binary aGVsbG8=\n",
        "set": "train_teacher: !!set {layers, width}\n",
        "laughs": aliases("[x, x, x, x, x, x, x, x, x, x]", "[{}]", 30),
        "merged laughs": aliases("{k: 1}", "{{<<: [{}]}}", 30),
        "chain": "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000)),
        "itself": "train_teacher: &a {training: *a}\n",
        "brackets": "[" * 400_000,
        "closed brackets": "[" * 900 + "]" * 900,
        "braces": "{a: " * 100_000,
        "dashes": "- " * 100_000,
        "indents": "\n".join(" " * n + "a:" for n in range(600)),
        "many keys": "\n".join(f"key{n}: 1" for n in range(40_000)),
        "unknown keys": "\n".join(f"train_teacher{n}: 1" for n in range(8_000)),
        "long key": "a" * 200_000 + ": 1\n",
        "long value": "train_teacher: {kind: " + "x" * 400_000 + "}\n",
        "huge": "# " + "x" * 600 * 1024,
        "key twice": "train_teacher: {layers: 2, width: 8, layers: 4}\n",
        "section twice": "train_teacher: {}\ntrain_teacher: {}\n",
        "two documents": "train_teacher: {}\n---\ntrain_teacher: {}\n",
        "list": "- train_teacher\n",
        "text": "train_teacher\n",
        "list as a key": "{[train_teacher]: 1}\n",
        "number as a key": "1: 2\n",
        "null as a key": "~: 2\n",
        "digits": "train_teacher: {layers: " + "9" * 100_000 + "}\n",
        "hexadecimal": "train_teacher: {layers: 0x" + "f" * 100_000 + "}\n",
        "minutes": "train_teacher: {layers: 1" + ":59" * 100_000 + "}\n",
        "no such day": "train_teacher: 2020-99-99\n",
        "no such zone": "train_teacher: 2001-12-14t21:59:43.10-99:00\n",
        "infinite": "train_teacher: {layers: .inf}\n",
        "NUL": "train_teacher: \0\n",
        "half a letter": 'train_teacher: "\\ud800"\n',
        "open quote": "train_teacher: '" + "x" * 1000,
        "terminal": 'train_teacher: {"\\e[2J\\e]0;owned\\a": 1}\n',
    }
