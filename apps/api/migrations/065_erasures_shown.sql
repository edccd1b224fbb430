-- ============================================================================
-- 065: Erasures as an organisation may see them
-- ============================================================================
-- One row stands for all organisations; each admin sees that there is one, and
-- what it erased in the organisation of the request. The function asks the
-- claims itself: nobody names an organisation.
-- ============================================================================
CREATE FUNCTION gleaner_erasures() RETURNS TABLE (
  id uuid, source text, state text, received_at timestamptz, due_at timestamptz, done_at timestamptz,
  attempts integer, trouble text, requested_by uuid, counts jsonb)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT e.id, e.source, e.state, e.received_at, e.due_at, e.done_at, e.attempts, e.trouble, e.requested_by,
    coalesce(e.counts -> claim.org::text, '{}')
  FROM compliance_erasures e CROSS JOIN (SELECT gleaner_claim_org() AS org) claim
  WHERE gleaner_has_role(claim.org, 'admin')
    AND (e.org_id = claim.org OR (e.org_id IS NULL AND (e.counts ? claim.org::text OR e.state = 'pending')))
$$;

REVOKE ALL ON FUNCTION gleaner_erasures() FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION gleaner_erasures() TO authenticated;
