-- The message clino.v1.Model, where the trainer described its model by itself; NULL beside a config.json.
ALTER TABLE runs ADD COLUMN model BLOB;
