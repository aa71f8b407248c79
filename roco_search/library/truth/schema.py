"""The tables of a library, as migrations: small functions in the order in which they were added.

A migration that has been released is never edited; a change is a new one, and `SCHEMA_VERSION` in `connection` grows.
"""

from sqlite_utils import Database, Migrations

migrations = Migrations("roco-library")


@migrations()
def m001_tables(db: Database) -> None:
    """Create everything. Paths are the raw bytes of the file name as TEXT (see `store.raw`)."""
    for statement in _TABLES:
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")


@migrations()
def m002_arithmetic(db: Database) -> None:
    """Note how the images of a set were embedded; NULL for sets that were begun before, in mixed precision."""
    db.execute("ALTER TABLE embedding_sets ADD COLUMN arithmetic TEXT")
    db.execute("PRAGMA user_version = 2")


@migrations()
def m003_captions(db: Database) -> None:
    """Add the texts that belong to images, searchable in full, and which images are of one case."""
    for statement in _CAPTIONS:
        db.execute(statement)
    db.table("captions").enable_fts(
        ["text", "affirmed"], create_triggers=True, tokenize="unicode61 remove_diacritics 2"
    )
    db.execute("CREATE VIRTUAL TABLE caption_words USING fts5vocab (captions_fts, col)")
    db.execute("PRAGMA user_version = 3")


_CAPTIONS = [
    # Which texts were asked for with a root: '' (nothing was said), 'none', or 'captions', 'reports', both.
    "ALTER TABLE roots ADD COLUMN texts TEXT NOT NULL DEFAULT ''",
    # A keyed hash, equal for the files of one case, by the folder or by a column of a table.
    "ALTER TABLE files ADD COLUMN case_key TEXT",
    "CREATE INDEX files_by_case ON files (case_key) WHERE case_key IS NOT NULL",
    "CREATE INDEX frames_by_study ON frames (study) WHERE study IS NOT NULL",
    # Where texts were read: a table, a file beside an image, a report, or a folder whose name is one.
    """
    CREATE TABLE text_files (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path TEXT NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL
    )
    """,
    # A text is of a file, which the text file calls `named`, a path; or of a study (a keyed hash), and `named` is
    # empty. affirmed is what of the text is not negated ("no effusion").
    """
    CREATE TABLE captions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        text_file_id INTEGER NOT NULL REFERENCES text_files (id) ON DELETE CASCADE,
        file_id INTEGER REFERENCES files (id) ON DELETE CASCADE,
        study TEXT,
        named TEXT NOT NULL,
        text TEXT NOT NULL,
        affirmed TEXT NOT NULL,
        CHECK ((file_id IS NULL) != (study IS NULL))
    )
    """,
    "CREATE INDEX captions_by_file ON captions (file_id)",
    "CREATE INDEX captions_by_study ON captions (study) WHERE study IS NOT NULL",
    "CREATE INDEX captions_by_text_file ON captions (text_file_id)",
    # A word that was deleted stays in the full-text index until this is seen to: see `Captions.forget_traces`.
    """
    CREATE TRIGGER caption_removed AFTER DELETE ON captions BEGIN
        INSERT OR REPLACE INTO settings VALUES ('traces_of_captions', '1');
    END
    """,
    """
    CREATE TRIGGER caption_changed AFTER UPDATE ON captions BEGIN
        INSERT OR REPLACE INTO settings VALUES ('traces_of_captions', '1');
    END
    """,
]

_TABLES = [
    # id, salt (the key of the hashes of series and study), created.
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # A folder or file that was given to `roco index`, and the frames to take of its multi-frame files.
    "CREATE TABLE roots (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, frames TEXT NOT NULL)",
    # One row a file by its real path. content_hash is SHA-256, NULL where not even the bytes could be read. frames
    # is the choice it was read under, NULL where every choice gives the same (a file with one frame). root_id is
    # the root through which it was found: a link can lead out of a root.
    """
    CREATE TABLE files (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path TEXT NOT NULL UNIQUE,
        root_id INTEGER REFERENCES roots (id) ON DELETE SET NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        content_hash BLOB,
        frames TEXT,
        status TEXT NOT NULL CHECK (status IN ('indexed', 'unreadable', 'not_image')),
        reason TEXT
    )
    """,
    "CREATE INDEX files_by_content ON files (content_hash)",
    "CREATE INDEX files_by_root ON files (root_id)",
    # One row a picture: the allow-list of attributes and nothing else of the header. series and study are keyed
    # hashes. number and count: which frame of how many in the file, from 0.
    """
    CREATE TABLE frames (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        count INTEGER NOT NULL,
        modality TEXT,
        body_part TEXT,
        view TEXT,
        laterality TEXT,
        rows INTEGER,
        columns INTEGER,
        photometric TEXT,
        sop_class TEXT,
        transfer_syntax TEXT,
        burned_in INTEGER,
        instance_number INTEGER,
        series_number INTEGER,
        localizer INTEGER,
        series TEXT,
        study TEXT,
        UNIQUE (file_id, number)
    )
    """,
    # The vectors of one model. At most one set is active (searched), at most one pending (being filled by a
    # re-embedding); a retired one is being deleted. count and last_id are kept by the triggers below.
    """
    CREATE TABLE embedding_sets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        dim INTEGER NOT NULL,
        image_size INTEGER NOT NULL,
        logit_scale REAL NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('active', 'pending', 'retired')),
        count INTEGER NOT NULL DEFAULT 0,
        last_id INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE UNIQUE INDEX one_active_one_pending ON embedding_sets (state) WHERE state != 'retired'",
    # float32 little-endian, of unit norm. Rows are never updated and ids never given twice, so the last id and the
    # count of a set determine its state exactly.
    """
    CREATE TABLE vectors (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        set_id INTEGER NOT NULL REFERENCES embedding_sets (id) ON DELETE CASCADE,
        frame_id INTEGER NOT NULL REFERENCES frames (id) ON DELETE CASCADE,
        vector BLOB NOT NULL,
        UNIQUE (set_id, frame_id)
    )
    """,
    "CREATE INDEX vectors_by_frame ON vectors (frame_id)",
    """
    CREATE TRIGGER vector_added AFTER INSERT ON vectors BEGIN
        UPDATE embedding_sets SET count = count + 1, last_id = NEW.id WHERE id = NEW.set_id;
    END
    """,
    """
    CREATE TRIGGER vector_removed AFTER DELETE ON vectors BEGIN
        UPDATE embedding_sets SET count = count - 1 WHERE id = OLD.set_id;
    END
    """,
    """
    CREATE TRIGGER vectors_are_immutable BEFORE UPDATE ON vectors BEGIN
        SELECT RAISE(ABORT, 'vectors are never changed, only replaced');
    END
    """,
]
