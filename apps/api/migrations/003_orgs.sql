-- Organisations and their members. A table that exists already is left as it is, with its own columns and policies.

do $$
begin
  if to_regclass('public.orgs') is null then
    create table public.orgs (
      id uuid primary key default gen_random_uuid(),
      name text not null constraint orgs_name_length check (char_length(name) between 1 and 200),
      created_at timestamptz not null default now(),
      updated_at timestamptz
    );
    alter table public.orgs enable row level security;
    create policy orgs_service on public.orgs for all to service_role using (true) with check (true);
    revoke all on public.orgs from public, anon, authenticated;
    grant select, insert, update, delete on public.orgs to service_role;
    grant select, update (name) on public.orgs to authenticated;
  end if;

  if to_regclass('public.org_members') is null then
    create table public.org_members (
      org_id uuid not null references public.orgs (id) on delete cascade,
      user_id uuid not null references auth.users (id) on delete cascade,
      role text not null constraint org_members_role check (role in ('owner', 'admin', 'analyst', 'viewer')),
      created_at timestamptz not null default now(),
      updated_at timestamptz,
      primary key (org_id, user_id)
    );
    create index org_members_user_id on public.org_members (user_id);
    alter table public.org_members enable row level security;
    create policy org_members_service on public.org_members for all to service_role using (true) with check (true);
    revoke all on public.org_members from public, anon, authenticated;
    grant select, insert, update, delete on public.org_members to service_role;
    grant select, insert, update (role), delete on public.org_members to authenticated;
  end if;
end
$$;
