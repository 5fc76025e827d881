-- What this database has written into probes and snapshots: of these files, and of no others, those that no row names any
-- more are removed. A file is noted before it is written.
CREATE TABLE files (
    folder TEXT NOT NULL,               -- probes or snapshots
    digest TEXT NOT NULL,               -- the file is FOLDER/DIGEST.safetensors
    PRIMARY KEY (folder, digest)
) STRICT, WITHOUT ROWID;

INSERT INTO files
SELECT DISTINCT 'probes', json_extract(value, '$.digest') FROM runs, json_each(runs.groups)
WHERE json_extract(value, '$.digest') IS NOT NULL;

INSERT INTO files
SELECT DISTINCT 'snapshots', file FROM snapshots WHERE file IS NOT NULL;

-- Says of the file that it is a history of clino ("clin").
PRAGMA application_id = 1668049262;
