-- Schema auth: the people who sign in and what the database knows about the one who asks. A Supabase project has all of
-- this, owned by a role of its own: there, nothing is added and nothing is altered.

do $$
begin
  if not exists (select from pg_catalog.pg_namespace where nspname = 'auth') then
    create schema auth;
    grant usage on schema auth to anon, authenticated, service_role;
  end if;

  if not exists (
    select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'auth' and c.relname = 'users'
  ) then
    -- A subset of Supabase's columns with the same names and types. `id` has no default there either.
    create table auth.users (
      id uuid primary key,
      email character varying(255),
      raw_user_meta_data jsonb,
      created_at timestamptz default now(),
      updated_at timestamptz default now()
    );
    create unique index users_email_key on auth.users (lower(email));
    alter table auth.users enable row level security;
    create policy users_service on auth.users for all to service_role using (true) with check (true);
    grant select, insert, update, delete on auth.users to service_role;
  end if;

  -- The claims of the signed-in person, set per transaction. NULL when nobody is signed in.
  if not exists (
    select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'auth' and p.proname = 'jwt' and p.pronargs = 0
  ) then
    create function auth.jwt() returns jsonb
      language sql stable parallel safe set search_path = ''
      as 'select nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb';
    grant execute on function auth.jwt() to anon, authenticated, service_role;
  end if;

  if not exists (
    select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'auth' and p.proname = 'uid' and p.pronargs = 0
  ) then
    create function auth.uid() returns uuid
      language sql stable parallel safe set search_path = ''
      as 'select (nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''sub'')::uuid';
    grant execute on function auth.uid() to anon, authenticated, service_role;
  end if;

  if not exists (
    select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'auth' and p.proname = 'role' and p.pronargs = 0
  ) then
    create function auth.role() returns text
      language sql stable parallel safe set search_path = ''
      as 'select nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''role''';
    grant execute on function auth.role() to anon, authenticated, service_role;
  end if;
end
$$;
