-- How many mails an address got in this hour; only where the operator set a limit.

CREATE TABLE mail_counts (
  hour    INTEGER NOT NULL,
  mailbox BLOB    NOT NULL,               -- a digest of the address
  mails   INTEGER NOT NULL,
  PRIMARY KEY (hour, mailbox)
) STRICT, WITHOUT ROWID;
