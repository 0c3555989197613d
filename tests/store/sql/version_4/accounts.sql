PRAGMA journal_mode = WAL;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"key" TEXT NOT NULL, 
	display TEXT NOT NULL, 
	disabled BOOLEAN NOT NULL, 
	epoch INTEGER NOT NULL, 
	registered_at BIGINT NOT NULL, 
	registered_from TEXT NOT NULL, 
	visited_at BIGINT, 
	visited_from TEXT, 
	refusals INTEGER NOT NULL, 
	previous_at BIGINT, 
	previous_from TEXT, 
	previous_refusals INTEGER, 
	UNIQUE ("key")
);
INSERT INTO "accounts" VALUES(1,'ann','Ann',0,0,1772366400000000,'192.0.2.1',1772370000000000,'192.0.2.7',0,NULL,NULL,0);
INSERT INTO "accounts" VALUES(2,'bob','bob',0,0,1772366400000000,'192.0.2.1',NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE clients (
	address TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	display TEXT NOT NULL, 
	first_at BIGINT NOT NULL, 
	visited_at BIGINT NOT NULL, 
	PRIMARY KEY (address, "key")
)
 WITHOUT ROWID

;
INSERT INTO "clients" VALUES('192.0.2.1','dora','dora',1772366400000000,1772366400000000);
CREATE TABLE credentials (
	account_id INTEGER NOT NULL, 
	type TEXT NOT NULL, 
	data BLOB NOT NULL, 
	must_change BOOLEAN NOT NULL, 
	expires_at BIGINT, 
	PRIMARY KEY (account_id, type), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE
);
INSERT INTO "credentials" VALUES(1,'SCRAM-SHA-256',X'7365616C656420666F722031',0,NULL);
INSERT INTO "credentials" VALUES(2,'SCRAM-SHA-256',X'7365616C656420666F722032',1,NULL);
CREATE TABLE invitations (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	fingerprint BLOB NOT NULL, 
	display TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	made_at BIGINT NOT NULL, 
	made_by TEXT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	used_at BIGINT, 
	used_from TEXT, 
	UNIQUE (fingerprint)
);
INSERT INTO "invitations" VALUES(1,X'6969696969696969696969696969696969696969696969696969696969696969','cleo','cleo',1772366400000000,'vadim',1772971200000000,NULL,NULL);
CREATE INDEX ix_invitations_key ON invitations ("key");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('accounts',2);
INSERT INTO "sqlite_sequence" VALUES('invitations',1);
COMMIT;
