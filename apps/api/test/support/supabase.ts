/**
 * A database as a Supabase project has it: the owner is no superuser, schema auth belongs to another role, whatever is
 * made in public is granted to everybody, and there is an orgs table with columns of its own.
 */
import { connect, type Db } from '../../src/db/client.ts'
import { databaseUrl, emptyDb } from './db.ts'

export type Supabase = Readonly<{
  /** Connected as the project's owner, as DATABASE_URL of a Supabase project does. */
  owner: Db
  /** Connected as the superuser, which a project does not have. */
  admin: Db
  close(): Promise<void>
}>

const OWNER = 'supabase_project_owner'
const AUTH_ADMIN = 'supabase_auth_admin'

/** Makes such a database. One at a time: its roles belong to the whole server. */
export async function supabaseDb(): Promise<Supabase> {
  const fresh = await emptyDb()
  await fresh.db.query(ROLES)
  await fresh.db.query(PROJECT)
  const name = new URL(fresh.url).pathname.slice(1)
  await fresh.db.query(`alter database ${name} owner to ${OWNER}`)
  const owner = await connect(databaseUrl(fresh.url, name).replace('postgres@', `${OWNER}@`))
  return {
    owner,
    admin: fresh.db,
    close: async () => {
      await owner.close()
      await fresh.close()
    },
  }
}

const ROLES = `
  do $$
  declare name text;
  begin
    foreach name in array array['anon', 'authenticated', 'service_role'] loop
      if not exists (select from pg_roles where rolname = name) then execute format('create role %I nologin', name); end if;
    end loop;
    alter role service_role bypassrls;
    if not exists (select from pg_roles where rolname = '${AUTH_ADMIN}') then
      create role ${AUTH_ADMIN} nologin noinherit createrole;
    end if;
    if not exists (select from pg_roles where rolname = '${OWNER}') then
      create role ${OWNER} login createdb createrole bypassrls;
      grant anon, authenticated, service_role to ${OWNER};
    end if;
    -- A project does not have it, and its owner makes it (managed.test.ts); here other databases of the server may have.
    if not exists (select from pg_roles where rolname = 'gleaner_auth') then
      begin
        create role gleaner_auth nologin noinherit;
      exception when duplicate_object or unique_violation then null;
      end;
    end if;
    grant gleaner_auth to ${OWNER};
  end
  $$`

const PROJECT = `
  alter schema public owner to ${OWNER};
  grant usage on schema public to anon, authenticated, service_role;
  alter default privileges for role ${OWNER} in schema public grant all on tables to anon, authenticated, service_role;
  alter default privileges for role ${OWNER} in schema public grant all on functions to anon, authenticated, service_role;
  alter default privileges for role ${OWNER} in schema public grant all on sequences to anon, authenticated, service_role;

  create schema auth authorization ${AUTH_ADMIN};
  grant usage on schema auth to anon, authenticated, service_role, ${OWNER};
  set role ${AUTH_ADMIN};
  create table auth.users (
    instance_id uuid, id uuid not null primary key, aud varchar(255), role varchar(255), email varchar(255),
    encrypted_password varchar(255), email_confirmed_at timestamptz, invited_at timestamptz,
    confirmation_token varchar(255), last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
    is_super_admin boolean, created_at timestamptz, updated_at timestamptz, phone text unique default null,
    banned_until timestamptz, is_sso_user boolean not null default false, deleted_at timestamptz,
    is_anonymous boolean not null default false
  );
  alter table auth.users enable row level security;
  create function auth.uid() returns uuid language sql stable as $$ select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
  create function auth.role() returns text language sql stable as $$ select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text $$;
  create function auth.jwt() returns jsonb language sql stable as $$ select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
  grant all on auth.users to ${OWNER};
  reset role;

  set role ${OWNER};
  create table public.orgs (
    id uuid primary key default gen_random_uuid(), slug text unique not null, name text not null, plan text default 'free',
    created_at timestamptz default now()
  );
  alter table public.orgs enable row level security;
  create policy "orgs are visible" on public.orgs for select to authenticated using (true);
  reset role`
