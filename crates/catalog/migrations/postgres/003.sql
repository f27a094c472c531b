-- Which server reads which shard of a stream, and from where it is read on. Nobody asks when: servers measure how long a beat stays.
CREATE TABLE lease (
    workspace TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    shard TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C",
    holder_name TEXT COLLATE "C",
    epoch BIGINT NOT NULL,
    beat BIGINT NOT NULL,
    checkpoint TEXT COLLATE "C",
    PRIMARY KEY (workspace, source, topic, shard)
);
