-- The ledger of applied migrations; not for users.

-- name: create_database
-- Make the database of the history.
-- params: database
create database if not exists {database:Identifier};

-- name: create_ledger
-- One row per applied migration; two that apply at once write equal rows, which fold.
create table if not exists schema_migrations
(
    version UInt32,
    name String,
    checksum String,
    applied DateTime64(3, 'UTC') default now64(3, 'UTC')
)
engine = ReplacingMergeTree
order by version;

-- name: applied
-- What was applied, in order.
select
    version,
    name,
    checksum
from schema_migrations
final
order by version;

-- name: record
-- Note a migration as applied.
-- params: version name checksum
insert into schema_migrations (version, name, checksum)
select
    {version:UInt32},
    {name:String},
    {checksum:String};

-- name: database_exists
-- One row if the ledger of a database exists.
-- params: database
select name
from system.tables
where database = {database:String}
    and name = 'schema_migrations';
