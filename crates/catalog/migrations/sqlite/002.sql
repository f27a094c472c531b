-- An object may be paused: it is there, and takes nothing in and passes nothing on.
ALTER TABLE version ADD COLUMN is_paused BIGINT NOT NULL DEFAULT 0;

DROP VIEW object;
CREATE VIEW object AS
    SELECT l.id, l.revision, l.workspace, l.kind, l.name, v.labels, v.owner, v.spec, v.created_at_us, v.updated_at_us,
        v.is_managed, v.applied_revision, v.is_paused
    FROM living l JOIN version v ON v.id = l.id AND v.revision = l.revision;
