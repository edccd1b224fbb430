-- The history of migrations: everyone who starts work may see whether the schema is the one the code expects.
-- The table itself is made by the runner (src/db/migrate.ts) before the first file.

do $$
begin
  if to_regclass('gleaner.migrations') is not null then
    revoke all on gleaner.migrations from public, anon, authenticated;
    grant usage on schema gleaner to service_role;
    grant select on gleaner.migrations to service_role;
    create policy migrations_service on gleaner.migrations for select to service_role using (true);
  end if;
end
$$;
