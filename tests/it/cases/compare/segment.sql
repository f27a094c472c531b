-- The same events in tables that are named and typed as Segment's are: reserved words bare, lists as text, columns of its loader.
CREATE TABLE tracks (id VARCHAR(512), uuid_ts TIMESTAMP, received_at TIMESTAMP, original_timestamp TIMESTAMP, sent_at TIMESTAMP,
    timestamp TIMESTAMP, event VARCHAR(512), event_text VARCHAR(512), anonymous_id VARCHAR(512), user_id VARCHAR(512), context_ip VARCHAR(512));
INSERT INTO tracks VALUES
    ('m-2', '2026-11-01 12:00:00+00', '2026-11-01 11:00:00.25+00', '2026-11-01 11:00:00+00', NULL, '2026-11-01 11:00:00+00',
     'checkout_2_started', 'Checkout 2 Started', 'a-2', NULL, '203.0.113.8'),
    ('m-1', '2026-11-01 12:00:00+00', '2026-11-01 10:00:00.5+00', '2026-11-01 10:00:00.12+00', NULL, '2026-11-01 10:00:00.12+00',
     'checkout_2_started', 'Checkout 2 Started', NULL, 'u-1', '203.0.113.7');
CREATE TABLE checkout2_started (id VARCHAR(512), uuid_ts TIMESTAMP, received_at TIMESTAMP, original_timestamp TIMESTAMP, sent_at TIMESTAMP,
    timestamp TIMESTAMP, event VARCHAR(512), event_text VARCHAR(512), anonymous_id VARCHAR(512), user_id VARCHAR(512),
    "order" VARCHAR(512), address1 VARCHAR(512), total FLOAT, is_gift BOOLEAN, products VARCHAR(512), note TIMESTAMP);
INSERT INTO checkout2_started VALUES
    ('m-1', '2026-11-01 12:00:00+00', '2026-11-01 10:00:00.5+00', '2026-11-01 10:00:00.12+00', NULL, '2026-11-01 10:00:00.12+00',
     'checkout_2_started', 'Checkout 2 Started', NULL, 'u-1', 'A-1', 'Main Street 1', 39.90, 1, '[{"quantity": 2, "sku": "S-1"}]', NULL),
    ('m-2', '2026-11-01 12:00:00+00', '2026-11-01 11:00:00.25+00', '2026-11-01 11:00:00+00', NULL, '2026-11-01 11:00:00+00',
     'checkout_2_started', 'Checkout 2 Started', 'a-2', NULL, NULL, NULL, 100.0, 0, '[]', '2026-11-01 11:00:00+00');
CREATE TABLE users (id VARCHAR(512), received_at TIMESTAMP, email VARCHAR(512));
INSERT INTO users VALUES ('u-1', '2026-11-01 10:00:00+00', 'ann@example.com');
CREATE TABLE loads (name VARCHAR(512), finished TIMESTAMP);
