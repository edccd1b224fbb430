-- What members may do with their organisation. Only on the tables 003 made (they carry its policy for service_role):
-- tables a project brought with it keep the policies they came with.

do $$
begin
  if exists (
    select from pg_catalog.pg_policies where schemaname = 'public' and tablename = 'orgs' and policyname = 'orgs_service'
  ) then
    create policy orgs_select on public.orgs for select to authenticated
      using (id in (select public.member_org_ids()));
    create policy orgs_update on public.orgs for update to authenticated
      using (public.member_role(id) in ('owner', 'admin'))
      with check (public.member_role(id) in ('owner', 'admin'));
  end if;

  -- An admin manages everybody but owners; only an owner makes, changes or removes an owner.
  if exists (
    select from pg_catalog.pg_policies
    where schemaname = 'public' and tablename = 'org_members' and policyname = 'org_members_service'
  ) then
    create policy org_members_select on public.org_members for select to authenticated
      using (org_id in (select public.member_org_ids()));
    create policy org_members_insert on public.org_members for insert to authenticated
      with check (public.member_role(org_id) = 'owner' or (public.member_role(org_id) = 'admin' and role <> 'owner'));
    create policy org_members_update on public.org_members for update to authenticated
      using (public.member_role(org_id) = 'owner' or (public.member_role(org_id) = 'admin' and role <> 'owner'))
      with check (public.member_role(org_id) = 'owner' or (public.member_role(org_id) = 'admin' and role <> 'owner'));
    create policy org_members_delete on public.org_members for delete to authenticated
      using (public.member_role(org_id) = 'owner' or (public.member_role(org_id) = 'admin' and role <> 'owner'));
  end if;
end
$$;
