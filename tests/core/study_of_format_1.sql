-- A study of two variants as the workbench wrote it before Alembic kept its tables.
BEGIN TRANSACTION;
CREATE TABLE labels (id TEXT PRIMARY KEY, label TEXT NOT NULL);
INSERT INTO "labels" VALUES('b','{"name": "mine", "tags": ["x"], "text": "why"}');
CREATE TABLE replaced (id TEXT NOT NULL, content TEXT NOT NULL);
INSERT INTO "replaced" VALUES('b','{"position": 2, "id": "b", "created": "2026-01-02T03:04:06", "recipe": "{\"version\": 1, \"recipe\": [{\"step\": \"Prune\", \"ratio\": 0.3}]}", "estimates": "{\"accuracy\": {\"value\": 0.25, \"low\": 0.15, \"high\": 0.35, \"n\": 10, \"unit\": \"\"}, \"macs\": {\"value\": 3, \"low\": 3, \"high\": 3, \"n\": 1, \"unit\": \"MACs\"}}", "notes": "[\"it is small\"]", "onnx": "f2f1e6bb29ab343945ca82c27c976f47.onnx", "state": "9a129038d9a00aed0cf6a7ea059ca50a.safetensors", "facts": "{\"verdict\": \"good\", \"machine\": \"m\", \"future\": [1]}", "seal": "ce9d8c6059ea33a1", "version": "1"}');
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "study" VALUES('version','1');
INSERT INTO "study" VALUES('model','m');
INSERT INTO "study" VALUES('data','d');
CREATE TABLE variants (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT UNIQUE NOT NULL,
    created TEXT NOT NULL,
    recipe TEXT NOT NULL,
    estimates TEXT NOT NULL,
    notes TEXT NOT NULL,
    onnx TEXT NOT NULL,
    state TEXT NOT NULL
, facts TEXT NOT NULL DEFAULT '{}', seal TEXT NOT NULL DEFAULT '', version TEXT NOT NULL DEFAULT '1');
INSERT INTO "variants" VALUES(1,'a','2026-01-02T03:04:05','{"version": 1, "recipe": []}','{"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "unit": ""}, "macs": {"value": 3, "low": 3, "high": 3, "n": 1, "unit": "MACs"}}','["it is small"]','eef93e1d14482804277fca0172464032.onnx','9a129038d9a00aed0cf6a7ea059ca50a.safetensors','{"verdict": "good", "machine": "m", "future": [1]}','09bf40d1ca78319e','1');
INSERT INTO "variants" VALUES(2,'b','2026-01-02T03:04:07','{"version": 1, "recipe": [{"step": "Prune", "ratio": 0.3}]}','{"accuracy": {"value": 0.375, "low": 0.275, "high": 0.475, "n": 10, "unit": ""}, "macs": {"value": 3, "low": 3, "high": 3, "n": 1, "unit": "MACs"}}','["it is small"]','1596a6aebe652bc8f33ca15c2e9454bc.onnx','9a129038d9a00aed0cf6a7ea059ca50a.safetensors','{"verdict": "good", "machine": "m", "future": [1]}','5c395fd70f9c8608','1');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('variants',3);
COMMIT;
