"""Serves an emulator of Snowflake, and reads it with Snowflake's own client.

Prints the port, then answers each line of JSON on its standard input with one on its standard output; ends when the input
does. What a reader sees is read through the server, as any client would."""

import datetime
import decimal
import gc
import json
import logging
import re
import socket
import sys
import threading

import fakesnow.cursor
import fakesnow.server
import snowflake.connector
import uvicorn

logging.disable(logging.CRITICAL)

# Snowflake moves a table to another schema by RENAME; the emulator would leave it where it is.
MOVE = re.compile(r'ALTER TABLE ("[^"]+"\."[^"]+"\."[^"]+") RENAME TO ("[^"]+"\."[^"]+"\."[^"]+")')
execute = fakesnow.cursor.FakeSnowflakeCursor.execute


def execute_or_move(self, command, *args, **kwargs):
    if move := MOVE.fullmatch(command):
        execute(self, f"CREATE TABLE {move[2]} AS SELECT * FROM {move[1]}")
        command = f"DROP TABLE {move[1]}"
    return execute(self, command, *args, **kwargs)


fakesnow.cursor.FakeSnowflakeCursor.execute = execute_or_move
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
port = listener.getsockname()[1]
connections = {}


def serve():
    config = uvicorn.Config(fakesnow.server.app, log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def cursor(database):
    if database not in connections:
        connections[database] = snowflake.connector.connect(
            user="reader", password="x", account="emulator", host="127.0.0.1", port=port, protocol="http",
            database=database, schema="PUBLIC", session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
            network_timeout=30, login_timeout=30,
        )
    return connections[database].cursor()


def kind(described):
    for prefix, name in [("NUMBER(38,18)", "DECIMAL"), ("NUMBER", "INTEGER"), ("BOOLEAN", "BOOLEAN"),
                         ("TIMESTAMP", "TIMESTAMP"), ("VARIANT", "JSON")]:
        if described.startswith(prefix):
            return name
    return "TEXT"


def text(kind, value):
    if value is None:
        return None
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if kind == "JSON":
        # What VARIANT would alter is kept as one string inside it.
        inner = json.loads(value)
        return inner if isinstance(inner, str) else value
    return str(value)


def seen(database, schema):
    reader = cursor(database)
    reader.execute(
        f"SELECT TABLE_NAME FROM \"{database}\".INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{schema}' AND TABLE_TYPE = 'BASE TABLE'")
    tables = {}
    for (table,) in reader.fetchall():
        if table.startswith("_TIDEGATE_"):
            continue
        name = f'"{database}"."{schema}"."{table}"'
        reader.execute(f"DESCRIBE TABLE {name}")
        described = [(row[0], kind(row[1])) for row in reader.fetchall()]
        columns = [(name.lower() if name.upper() == name else name, kind) for name, kind in described]
        # The emulator sends an instant that is NULL as 1970; whether it is NULL is asked apart.
        absent = [f'"{column}" IS NULL' for column, kind in described if kind == "TIMESTAMP"]
        reader.execute(f"SELECT {', '.join(['*', *absent])} FROM {name}")
        rows = []
        for row in reader.fetchall():
            is_null = iter(row[len(columns):])
            cells = zip(columns, row[:len(columns)], strict=True)
            rows.append([None if kind == "TIMESTAMP" and next(is_null) else text(kind, cell)
                         for (_, kind), cell in cells])
        tables[table.lower()] = {"columns": columns, "rows": rows}
    return tables


def answer(order):
    match order["op"]:
        case "seen":
            return seen(order["database"], order["schema"])
        case "read":
            reader = cursor(order["database"])
            reader.execute(order["sql"])
            return [row[0] for row in reader.fetchall()]
        case "run":
            for sql in order["sql"]:
                cursor(order["database"]).execute(sql)
            return True
        case "abandon":
            # As Snowflake does when somebody waits for the lock of a transaction that nobody will end.
            connections.pop(order["database"], None)
            for token, connection in list(fakesnow.server.sessions.items()):
                if connection.database == order["database"]:
                    del fakesnow.server.sessions[token]
            connection = None
            gc.collect()
            return True


threading.Thread(target=serve, daemon=True).start()
print(json.dumps({"port": port}), flush=True)
for line in sys.stdin:
    try:
        print(json.dumps({"ok": answer(json.loads(line))}), flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
