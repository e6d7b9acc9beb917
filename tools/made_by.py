"""The MADE_BY page of a folder of golden files: which script, with which versions and seed, and every file's hash."""
import hashlib


def write_made_by(folder, script, modules, seed):
    """`script`: its name in tools/; `modules`: those whose versions matter; `seed`: how it is chosen, in words."""
    versions = ", ".join(f"{m.__name__} {m.__version__}" for m in modules)
    lines = [f"tools/{script}; {versions}, seed = {seed}"]
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "MADE_BY":
            lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}  {file.relative_to(folder)}")
    (folder / "MADE_BY").write_text("\n".join(lines) + "\n")
