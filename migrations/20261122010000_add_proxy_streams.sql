-- The stream that a proxy follows now: the end of an earlier one does not disconnect it.
alter table proxies add column stream_id text;
