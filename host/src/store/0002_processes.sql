-- Processes of the service that share this database. works_from: when it takes its share of what banks allow; none if it
-- does not ask banks.
CREATE TABLE process (
    id         {bytes} NOT NULL,
    roles      TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    started_at {int}   NOT NULL,
    works_from {int},
    seen_at    {int}   NOT NULL,
    CONSTRAINT process_key PRIMARY KEY (id)
) {table};
