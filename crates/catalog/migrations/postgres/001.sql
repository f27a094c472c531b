-- Texts are compared by their bytes, as SQLite does.
-- One row: the numbers that go up, and the end of the audit log. Whoever writes changes it first.
CREATE TABLE head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL,
    audit_seq BIGINT NOT NULL,
    audit_hash BYTEA NOT NULL,
    key_id TEXT COLLATE "C",
    sealed_key BYTEA
);
INSERT INTO head (id, revision, audit_seq, audit_hash) VALUES (1, 0, 0, '');

-- Every value that an object ever had. Nothing here is changed.
CREATE TABLE version (
    id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    labels TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C",
    spec TEXT COLLATE "C" NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    is_managed BIGINT NOT NULL,
    applied_revision BIGINT,
    is_deleted BIGINT NOT NULL,
    changed_by TEXT COLLATE "C",
    PRIMARY KEY (id, revision)
);
CREATE INDEX version_by_workspace ON version (workspace, revision);

-- Which version of an object counts.
CREATE TABLE living (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    UNIQUE (workspace, kind, name)
);
CREATE INDEX living_by_kind ON living (kind);

-- What lists are filtered and ordered by comes from the living, whose index has it in order.
CREATE VIEW object AS
    SELECT l.id, l.revision, l.workspace, l.kind, l.name, v.labels, v.owner, v.spec, v.created_at_us, v.updated_at_us,
        v.is_managed, v.applied_revision
    FROM living l JOIN version v ON v.id = l.id AND v.revision = l.revision;

-- Of the living, for filters and for what names what.
CREATE TABLE label (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id, name)
);
CREATE INDEX label_by_value ON label (name, value);
CREATE TABLE reference (
    id TEXT COLLATE "C" NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id, kind, name)
);
CREATE INDEX reference_by_name ON reference (workspace, kind, name);

CREATE TABLE idempotency (
    principal TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    request_sha256 BYTEA NOT NULL,
    answer TEXT COLLATE "C" NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_by_time ON idempotency (at_us);

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    workspace TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C",
    token TEXT COLLATE "C",
    action TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C",
    object TEXT COLLATE "C",
    name TEXT COLLATE "C",
    result TEXT COLLATE "C" NOT NULL,
    revision BIGINT,
    request TEXT COLLATE "C",
    agent TEXT COLLATE "C",
    detail TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C",
    address_hash BYTEA,
    hash BYTEA NOT NULL
);
CREATE INDEX audit_by_object ON audit (object, seq);
CREATE INDEX audit_by_principal ON audit (principal, seq);

CREATE TABLE secret (
    workspace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (workspace, name)
);
CREATE INDEX secret_by_key ON secret (key_id);

-- What is looked up by the hash of what is shown: API tokens and write keys.
CREATE TABLE credential (
    hash BYTEA PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    last_used_at_us BIGINT
);

CREATE TABLE password (
    id TEXT COLLATE "C" PRIMARY KEY,
    phc TEXT COLLATE "C" NOT NULL,
    changed_at_us BIGINT NOT NULL
);

CREATE TABLE session (
    hash BYTEA PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    opened_at_us BIGINT NOT NULL,
    seen_at_us BIGINT NOT NULL
);
CREATE INDEX session_by_user ON session (id);

CREATE TABLE draft (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace TEXT COLLATE "C" NOT NULL,
    author TEXT COLLATE "C" NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    base_revision BIGINT NOT NULL,
    edits TEXT COLLATE "C" NOT NULL,
    fields TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    proposed_at_us BIGINT NOT NULL,
    decided_by TEXT COLLATE "C",
    decided_at_us BIGINT,
    revision BIGINT
);
CREATE INDEX draft_by_time ON draft (workspace, proposed_at_us);
