-- The three roles every policy names, as a Supabase project has them. What exists is left as it is.
-- None of them can log in: the connecting user takes one on for a transaction (SET LOCAL ROLE) or a session (SET ROLE),
-- so it must be a member of all three.

do $$
declare
  wanted text;
  may_take boolean;
begin
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
      begin
        execute format('create role %I nologin noinherit', wanted);
      exception when duplicate_object or unique_violation then
        null; -- roles belong to the whole server: another database of it was migrated at the same moment
      end;
      if wanted = 'service_role' then
        begin
          alter role service_role bypassrls;
        exception when insufficient_privilege then
          null; -- a hosted database may not grant it; every table has a policy for service_role instead
        end;
      end if;
    end if;

    if current_setting('server_version_num')::int >= 160000 then
      -- From 16 on, creating a role makes its creator a member who may administer it, but not become it.
      execute 'select pg_catalog.pg_has_role(current_user, $1, ''SET'')' into may_take using wanted;
    else
      may_take := pg_catalog.pg_has_role(current_user, wanted, 'MEMBER');
    end if;
    if not may_take then
      execute format('grant %I to %I', wanted, current_user);
    end if;
  end loop;
end
$$;

grant usage on schema public to anon, authenticated, service_role;
