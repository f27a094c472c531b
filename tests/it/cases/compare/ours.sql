-- Tables as Tidegate makes them in SQLite.
CREATE TABLE "tracks" ("id" TEXT PRIMARY KEY NOT NULL, "anonymous_id" TEXT, "user_id" TEXT, "timestamp" TIMESTAMP TEXT,
    "received_at" TIMESTAMP TEXT, "sent_at" TIMESTAMP TEXT, "original_timestamp" TIMESTAMP TEXT, "event" TEXT, "event_text" TEXT,
    "_overflow" JSON TEXT, "context_ip" TEXT, "message_integrations_all" BOOLEAN);
INSERT INTO "tracks" VALUES
    ('m-1', NULL, 'u-1', '2026-11-01T10:00:00.120000Z', '2026-11-01T10:00:00.500000Z', NULL, '2026-11-01T10:00:00.120000Z',
     'checkout_2_started', 'Checkout 2 Started', NULL, '203.0.113.7', 1),
    ('m-2', 'a-2', NULL, '2026-11-01T11:00:00.000000Z', '2026-11-01T11:00:00.250000Z', NULL, '2026-11-01T11:00:00.000000Z',
     'checkout_2_started', 'Checkout 2 Started', '{"properties":{"note":"2026-11-01T12:00:00+01:00"}}', '203.0.113.8', NULL);
CREATE TABLE "checkout_2_started" ("id" TEXT PRIMARY KEY NOT NULL, "anonymous_id" TEXT, "user_id" TEXT, "timestamp" TIMESTAMP TEXT,
    "received_at" TIMESTAMP TEXT, "sent_at" TIMESTAMP TEXT, "original_timestamp" TIMESTAMP TEXT, "event" TEXT, "event_text" TEXT,
    "_overflow" JSON TEXT, "_order" TEXT, "address_1" TEXT, "total" DECIMAL, "is_gift" BOOLEAN, "products" JSON TEXT, "note" TIMESTAMP TEXT);
INSERT INTO "checkout_2_started" VALUES
    ('m-1', NULL, 'u-1', '2026-11-01T10:00:00.120000Z', '2026-11-01T10:00:00.500000Z', NULL, '2026-11-01T10:00:00.120000Z',
     'checkout_2_started', 'Checkout 2 Started', NULL, 'A-1', 'Main Street 1', 39.9, 1, '[{"sku":"S-1","quantity":2}]', NULL),
    ('m-2', 'a-2', NULL, '2026-11-01T11:00:00.000000Z', '2026-11-01T11:00:00.250000Z', NULL, '2026-11-01T11:00:00.000000Z',
     'checkout_2_started', 'Checkout 2 Started', NULL, NULL, NULL, 100, 0, '[]', '2026-11-01T11:00:00.000Z');
CREATE TABLE "event_violations" ("id" TEXT PRIMARY KEY NOT NULL, "received_at" TIMESTAMP TEXT, "violations" JSON TEXT);
INSERT INTO "event_violations" VALUES ('m-2', '2026-11-01T11:00:00.250000Z', '[]');
CREATE TABLE "_tidegate_ledger" ("sync" TEXT PRIMARY KEY, "log_offset" INTEGER, "updated_at" TEXT);
