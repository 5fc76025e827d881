ALTER TABLE runs ADD COLUMN resumable INTEGER NOT NULL DEFAULT 0; -- 0 or 1: its trainer closed it, and may go on with it
