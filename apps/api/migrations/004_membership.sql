-- What policies ask about the signed-in person. Security definer, because the answer comes from org_members, whose own
-- policies ask these functions: they would call each other for ever. The search path is empty, so every name is spelled
-- out and none can be put in front. Functions that exist already are left as they are.

do $$
begin
  -- True when the signed-in person is a member of `org`, whatever the role.
  if to_regprocedure('public.is_member(uuid)') is null then
    create function public.is_member(org uuid) returns boolean
      language sql stable security definer parallel safe set search_path = ''
      as 'select exists (select from public.org_members m where m.org_id = org and m.user_id = auth.uid())';
    revoke all on function public.is_member(uuid) from public, anon;
    grant execute on function public.is_member(uuid) to authenticated, service_role;
  end if;

  -- The organisations the signed-in person belongs to. `org_id in (select public.member_org_ids())` is evaluated once a
  -- statement where `is_member(org_id)` is evaluated once a row: use it on tables that grow.
  if to_regprocedure('public.member_org_ids()') is null then
    create function public.member_org_ids() returns setof uuid
      language sql stable security definer parallel safe rows 4 set search_path = ''
      as 'select m.org_id from public.org_members m where m.user_id = auth.uid()';
    revoke all on function public.member_org_ids() from public, anon;
    grant execute on function public.member_org_ids() to authenticated, service_role;
  end if;

  -- The signed-in person's role in `org`: owner, admin, analyst or viewer; NULL for somebody who is not a member.
  if to_regprocedure('public.member_role(uuid)') is null then
    create function public.member_role(org uuid) returns text
      language sql stable security definer parallel safe set search_path = ''
      as 'select m.role from public.org_members m where m.org_id = org and m.user_id = auth.uid()';
    revoke all on function public.member_role(uuid) from public, anon;
    grant execute on function public.member_role(uuid) to authenticated, service_role;
  end if;
end
$$;
