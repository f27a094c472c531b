"""ClickHouse's HTTP interface over the engine of the package chdb, for tests.

The engine (parser, types, tables, mutations, formats, messages and their codes) is ClickHouse's own, run in this process.
This face is ours: it carries requests to the engine as the server's HTTP handler does, as far as the router uses it.

    serve.py --data FOLDER --user USER --password PASSWORD     prints its port; ends when its standard input does
             --certificate PEM                                 with a key: prints a second port, for HTTPS

What it alters on the way is transport only: rows that come in the body of an INSERT are put into a file and read by
FROM INFILE, tables that come with a query are made as temporary ones. Users are one pair, for chdb has none; a
permission is taken away for a whole database by POST /forbid?database=.. and given back by POST /allow?database=..
"""

import argparse
import gzip
import os
import queue
import re
import ssl
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import chdb

CONNECTIONS = 4
# As the server maps its exceptions; what is not here is 500.
STATUS = {194: 401, 192: 403, 193: 403, 516: 403, 497: 403, 6: 400, 27: 400, 36: 400, 53: 400, 62: 400, 69: 400, 117: 400,
          46: 404, 47: 404, 50: 404, 56: 404, 60: 404, 81: 404, 115: 404, 48: 501, 159: 408, 209: 503}
INSERT = re.compile(r"\s*(INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)\s*;?\s*$", re.I | re.S)
CHECK = re.compile(r"\s*CHECK GRANT (.*)", re.I | re.S)
WRITE = re.compile(r"\s*(INSERT|ALTER|CREATE|DROP|DELETE|TRUNCATE|RENAME|OPTIMIZE)\b", re.I)
# Parameters that are the handler's own; all others are settings.
OWN = {"query", "query_id", "database", "wait_end_of_query", "replace_running_query"}


class Refused(Exception):
    def __init__(self, code, text):
        self.code = code
        super().__init__(f"Code: {code}. DB::Exception: {text}")


class Running:
    """Queries by id: one at a time, as the server sees to it."""

    def __init__(self):
        self.ids, self.changed = set(), threading.Condition()

    def begin(self, query_id, replace):
        with self.changed:
            # The server would also cancel the older one.
            if query_id in self.ids and not (replace and self.changed.wait_for(lambda: query_id not in self.ids, 5)):
                raise Refused(216, f"Query with id = {query_id} is already running. (QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING)")
            self.ids.add(query_id)

    def end(self, query_id):
        with self.changed:
            self.ids.discard(query_id)
            self.changed.notify_all()


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Face:
    def __init__(self, data, user, password):
        self.pair, self.forbidden, self.running = (user, password), set(), Running()
        self.files = tempfile.mkdtemp(dir=data)
        self.connections = queue.Queue()
        for _ in range(CONNECTIONS):
            self.connections.put(chdb.connect(os.path.join(data, "engine")))

    def allow(self, user, password, sql):
        if (user, password) != self.pair:
            raise Refused(516, f"{user}: Authentication failed: password is incorrect, or there is no user with such name. "
                               "(AUTHENTICATION_FAILED)")
        if WRITE.match(sql) and any(f"`{name}`" in sql for name in self.forbidden):
            raise Refused(497, f"{user}: Not enough privileges. To execute this query, it's necessary to have the grant "
                               f"{WRITE.match(sql)[1].upper()} ON {', '.join(sorted(self.forbidden))}.* (ACCESS_DENIED)")

    def denies(self, sql):
        """Whether the server would answer 0: the engine has no users, and grants everything."""
        asked = CHECK.match(sql)
        return asked and WRITE.match(asked[1]) and any(f"`{name}`" in sql for name in self.forbidden)

    def run(self, sql, data, settings, external):
        if self.denies(sql):
            return b"0\n"
        connection, files = self.connections.get(), []

        def file(content):
            handle, path = tempfile.mkstemp(dir=self.files)
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            files.append(path)
            return quoted(path)

        try:
            if settings:
                connection.query("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))
            for name, structure, form, content in external:
                connection.query(f"CREATE TEMPORARY TABLE {name} ({structure})")
                if content:
                    connection.query(f"INSERT INTO {name} FROM INFILE {file(content)} COMPRESSION 'none' FORMAT {form}")
            insert = INSERT.match(sql)
            if insert and not re.search(r"\bSELECT\b", insert[1], re.I):
                if not data:
                    raise Refused(108, "No data to insert. (NO_DATA_TO_INSERT)")
                sql = f"{insert[1]} FROM INFILE {file(data)} COMPRESSION 'none' FORMAT {insert[2]}"
            elif data:
                sql += data.decode()
            return connection.query(sql, "TabSeparated").bytes()
        finally:
            for name, *_ in external:
                connection.query(f"DROP TABLE IF EXISTS {name}")
            if settings:
                connection.query("SET " + ", ".join(f"{name} = DEFAULT" for name in settings))
            self.connections.put(connection)
            for path in files:
                os.unlink(path)


def files_of_form(content_type, body):
    """The files of a form, by name."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)[1].encode()
    at = body.index(b"--" + boundary) + len(boundary) + 2
    while body[at:at + 2] == b"\r\n":
        head_end = body.index(b"\r\n\r\n", at)
        end = body.index(b"\r\n--" + boundary, head_end)
        yield re.search(rb'name="([^"]+)"', body[at:head_end])[1].decode(), body[head_end + 4:end]
        at = end + len(boundary) + 4


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        lines = [f"HTTP/1.1 {status} {self.responses.get(status, ('',))[0]}", f"Content-Length: {len(body)}",
                 "Content-Type: text/tab-separated-values; charset=UTF-8", *(f"{name}: {value}" for name, value in headers)]
        self.wfile.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def do_GET(self):
        self.answer(*((200, b"Ok.\n") if urlsplit(self.path).path in ("/", "/ping") else (404, b"There is no such page\n")))

    def body(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender is gone; the server throws what it has away as well.
            raise ConnectionError
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def do_POST(self):
        try:
            self.serve(self.body())
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def serve(self, body):
        url = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        face, query_id = self.server.face, asked.get("query_id", "")
        if url.path in ("/forbid", "/allow"):
            (face.forbidden.add if url.path == "/forbid" else face.forbidden.discard)(asked["database"])
            return self.answer(200)
        sql, data, external = asked.get("query", ""), body, []
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            for name, content in files_of_form(kind, body):
                external.append((name, asked[f"{name}_structure"], asked.get(f"{name}_format", "TabSeparated"), content))
            data = b""
        elif not sql:
            sql, data = body.decode(), b""
        tables = {f"{name}_{what}" for name, *_ in external for what in ("structure", "format")}
        settings = {name: value for name, value in asked.items() if name not in OWN | tables}
        # Python reads headers as Latin-1; the server takes their bytes.
        user, password = (self.headers.get(header, default).encode("latin-1").decode()
                          for header, default in (("X-ClickHouse-User", "default"), ("X-ClickHouse-Key", "")))
        try:
            face.allow(user, password, sql)
            if query_id:
                face.running.begin(query_id, asked.get("replace_running_query") == "1")
            try:
                result = face.run(sql, data, settings, external)
            finally:
                if query_id:
                    face.running.end(query_id)
            self.answer(200, result, [("X-ClickHouse-Query-Id", query_id)])
        except (Refused, RuntimeError, chdb.ChdbError) as error:
            text = str(error)
            code = int((re.search(r"Code: (\d+)", text) or [0, "1002"])[1])
            self.answer(STATUS.get(code, 500), f"{text} (version {chdb.engine_version})\n".encode(),
                        [("X-ClickHouse-Exception-Code", code)])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        # Tests cut lines; whatever else goes wrong is worth a trace.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


def main():
    parser = argparse.ArgumentParser()
    for name in ("--data", "--user", "--password"):
        parser.add_argument(name, required=True)
    parser.add_argument("--certificate")
    asked = parser.parse_args()
    servers = [Server(("127.0.0.1", 0), Handler)]
    if asked.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(asked.certificate)
        servers.append(Server(("127.0.0.1", 0), Handler))
        servers[1].socket = context.wrap_socket(servers[1].socket, server_side=True)
    face = Face(asked.data, asked.user, asked.password)
    for server in servers:
        server.face = face
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*(server.server_port for server in servers), flush=True)
    # The tests that asked for it are gone.
    sys.stdin.read()
    os._exit(0)


main()
