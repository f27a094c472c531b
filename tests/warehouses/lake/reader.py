"""Reads a lake with engines that Tidegate did not write, and runs an S3 server for it: one JSON request a line in, one
JSON answer a line out.

  {"do": "seen", "engine": "duckdb" | "pyarrow", "lake": folder, "schema": name}
      -> {"tables": {name: {"columns": {name: type}, "rows": [{column: text}]}}}
  {"do": "agree", "lake": folder, "schema": name, "tables": [a, [b, c]]}   how many rows, by one root
      -> {"version": n, "rows": {table: n}, "sum": {table: n}}
  {"do": "views", "lake": folder, "tables": [name]}                        through _tidegate/duckdb.sql
      -> {"rows": {table: n}}
  {"do": "read", "lake": folder, "name": table or view, "columns": [name]} through _tidegate/duckdb.sql
      -> {"rows": ["cell|cell"]}, by the first column
  {"do": "fingerprint", "lake": folder, "schema": name}                    rows and the sum of a hash of each, by one root
      -> {"tables": {name: [n, "sum"]}}
  {"do": "holds", "files": [path], "text": text}                           Parquet files in which a row has the text
      -> {"files": [path]}
  {"do": "lines", "files": pattern}       the events in files of JSON lines, by the name of their file
      -> {"lines": [{"json": text, "file": path, "dt": text, "hour": text}]}
  {"do": "s3"}                                                             -> {"endpoint": url}
  {"do": "bucket", "name": bucket}, {"do": "download", "bucket": b, "to": folder}
"""
import decimal, glob, json, os, sys, threading

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever prints to stdout must not mix with the answers
PLAIN = {"BOOLEAN": "BOOLEAN", "BIGINT": "INTEGER", "DECIMAL(38,18)": "DECIMAL", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "VARCHAR": "TEXT"}
servers = []


def instant(micros):
    """As ISO 8601, without the help of a time zone database."""
    days, rest = divmod(micros, 86_400_000_000)
    import datetime
    day = datetime.date.fromordinal(datetime.date(1970, 1, 1).toordinal() + days)
    seconds, fraction = divmod(rest, 1_000_000)
    return f"{day.isoformat() if day.year > 999 else str(day.year).zfill(4) + day.isoformat()[-6:]}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}Z"


def manifests(lake, schema):
    path = os.path.join(lake, "_tidegate/latest.json")
    if not os.path.exists(path):
        return 0, {}
    with open(path) as file:
        root = json.load(file)
    tables = {}
    for entry in root["tables"]:
        if entry["schema"] == schema:
            with open(os.path.join(lake, entry["manifest"])) as file:
                tables[entry["name"]] = json.load(file)
    return root["version"], tables


def paths(lake, manifest):
    return [os.path.join(lake, file["path"]) for file in manifest["files"]]


def kinds(found, manifest):
    """What the files say, told JSON from text by the manifest; the two must agree on everything else."""
    stated = {column["name"]: column["type"] for column in manifest["columns"]}
    assert set(found) == set(stated), (sorted(found), sorted(stated))
    for name, kind in found.items():
        assert kind == ("TEXT" if stated[name] == "JSON" else stated[name]), (name, kind, stated[name])
    return stated


def with_duckdb(lake, manifest):
    connection = duckdb.connect()
    relation = connection.sql("SELECT * FROM read_parquet($files, union_by_name = true, hive_partitioning = false)", params={"files": paths(lake, manifest)})
    stated = kinds({name: PLAIN[str(kind)] for name, kind in zip(relation.columns, relation.types)}, manifest)
    spelled = ", ".join(
        (f'epoch_us("{name}")' if stated[name] == "TIMESTAMP" else f'CAST("{name}" AS VARCHAR)') + f' AS "{name}"' for name in relation.columns
    )
    rows = connection.sql(f"SELECT {spelled} FROM relation").fetchall()
    cells = [dict((name, value) for name, value in zip(relation.columns, row) if value is not None) for row in rows]
    return stated, [{name: instant(value) if stated[name] == "TIMESTAMP" else value for name, value in row.items()} for row in cells]


def kind_of(field):
    if pa.types.is_boolean(field.type): return "BOOLEAN"
    if pa.types.is_int64(field.type): return "INTEGER"
    if field.type == pa.decimal128(38, 18): return "DECIMAL"
    if field.type == pa.timestamp("us", tz="UTC"): return "TIMESTAMP"
    if pa.types.is_string(field.type): return "TEXT"
    raise AssertionError(field)


def with_pyarrow(lake, manifest):
    files = [pq.ParquetFile(path) for path in paths(lake, manifest)]
    for file, entry in zip(files, manifest["files"]):
        assert file.metadata.num_rows == entry["rows"], entry
        assert os.path.getsize(os.path.join(lake, entry["path"])) == entry["bytes"], entry
    schema = pa.unify_schemas([file.schema_arrow.remove_metadata() for file in files])
    stated = kinds({field.name: kind_of(field) for field in schema}, manifest)
    rows = []
    for file in files:
        table = file.read()
        columns = {}
        for field in table.schema:
            column = table[field.name]
            if stated[field.name] == "TIMESTAMP":
                column = [None if at is None else instant(at) for at in column.cast(pa.int64()).to_pylist()]
            else:
                column = column.to_pylist()
            columns[field.name] = column
        for at in range(table.num_rows):
            row = {name: column[at] for name, column in columns.items() if column[at] is not None}
            rows.append({name: format(v, "f") if isinstance(v, decimal.Decimal) else str(v) for name, v in row.items()})
    return stated, rows


def seen(request):
    read = {"duckdb": with_duckdb, "pyarrow": with_pyarrow}[request["engine"]]
    _, tables = manifests(request["lake"], request["schema"])
    answer = {}
    for name, manifest in tables.items():
        columns, rows = read(request["lake"], manifest)
        answer[name] = {"columns": columns, "rows": rows}
    return {"tables": answer}


def agree(request):
    version, tables = manifests(request["lake"], request["schema"])
    connection = duckdb.connect()
    rows, sums = {}, {}
    for name, manifest in tables.items():
        files = paths(request["lake"], manifest)
        column = request["sum"] if any(c["name"] == request["sum"] for c in manifest["columns"]) else "NULL"
        count, total, ids = connection.execute(
            f"SELECT count(*), sum(TRY_CAST({column} AS HUGEINT)), count(DISTINCT id) FROM read_parquet($files, union_by_name = true, hive_partitioning = false)", {"files": files}
        ).fetchone()
        assert count == ids == sum(file["rows"] for file in manifest["files"]), (name, count, ids)
        rows[name], sums[name] = count, int(total or 0)
    return {"version": version, "rows": rows, "sums": sums}


def views(request):
    connection = duckdb.connect()
    with open(os.path.join(request["lake"], "_tidegate/duckdb.sql")) as file:
        connection.execute(file.read())
    return {"rows": {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in request["tables"]}}


def read(request):
    connection = duckdb.connect()
    with open(os.path.join(request["lake"], "_tidegate/duckdb.sql")) as file:
        connection.execute(file.read())
    cells = " || '|' || ".join(f"coalesce({column}::VARCHAR, '-')" for column in request["columns"])
    rows = connection.execute(f"SELECT {cells} FROM {request['name']} ORDER BY {request['columns'][0]}").fetchall()
    return {"rows": [row[0] for row in rows]}


def fingerprint(request):
    _, tables = manifests(request["lake"], request["schema"])
    connection, found = duckdb.connect(), {}
    for name, manifest in tables.items():
        rows, total = connection.execute(
            "SELECT count(*), sum(hash(t)) FROM read_parquet($files, union_by_name = true, hive_partitioning = false) t", {"files": paths(request["lake"], manifest)}
        ).fetchone()
        found[name] = [rows, str(total or 0)]
    return {"tables": found}


def holds(request):
    connection = duckdb.connect()
    query = "SELECT count(*) FROM read_parquet($file) t WHERE contains(t::VARCHAR, $text)"
    has = lambda file: connection.execute(query, {"file": file, "text": request["text"]}).fetchone()[0] > 0
    return {"files": [file for file in request["files"] if has(file)]}


def lines(request):
    if not glob.glob(request["files"], recursive=True):
        return {"lines": []}
    relation = duckdb.connect().sql(
        "SELECT * FROM read_ndjson_objects($files, filename = true, hive_partitioning = true, hive_types_autocast = false)",
        params={"files": request["files"]},
    )
    names = [{"filename": "file"}.get(name, name) for name in relation.columns]
    rows = [dict(zip(names, (str(value) for value in row))) for row in relation.fetchall()]
    return {"lines": sorted(rows, key=lambda row: os.path.basename(row["file"]))}


def s3(_):
    from moto.server import ThreadedMotoServer
    import logging
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    if not servers:
        servers.append(ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False))
        servers[0].start()
    host, port = servers[0].get_host_and_port()
    return {"endpoint": f"http://127.0.0.1:{port}"}


def client():
    import boto3
    return boto3.client("s3", endpoint_url=s3(None)["endpoint"], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")


def bucket(request):
    client().create_bucket(Bucket=request["name"])
    return {}


def download(request):
    store = client()
    objects = store.get_paginator("list_objects_v2").paginate(Bucket=request["bucket"])
    keys = [entry["Key"] for page in objects for entry in page.get("Contents", [])]
    for key in keys:
        target = os.path.join(request["to"], key)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        store.download_file(request["bucket"], key, target)
    return {"keys": keys}


for line in sys.stdin:
    try:
        request = json.loads(line)
        answer = globals()[request["do"]](request)
    except Exception as error:  # the test says what it was
        import traceback
        answer = {"error": "".join(traceback.format_exception(error))}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
