-- Which server reads which shard of a stream, and from where it is read on. Nobody asks when: servers measure how long a beat stays.
CREATE TABLE lease (
    workspace TEXT NOT NULL,
    source TEXT NOT NULL,
    topic TEXT NOT NULL,
    shard TEXT NOT NULL,
    holder TEXT,
    holder_name TEXT,
    epoch INTEGER NOT NULL,
    beat INTEGER NOT NULL,
    checkpoint TEXT,
    PRIMARY KEY (workspace, source, topic, shard)
);
