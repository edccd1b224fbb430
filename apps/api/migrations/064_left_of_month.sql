-- ============================================================================
-- 064: What is left of a month, said once
-- ============================================================================
-- Claims, pauses that end by themselves, starts and estimates all ask what the
-- month cap leaves. The row itself answers. The hold and the CHECK of 047 go on
-- to compare for themselves: they are guards, and stand alone.
-- ============================================================================
ALTER TABLE collection_months
  ADD COLUMN left_micros bigint
    GENERATED ALWAYS AS (cap_micros - spent_micros - held_micros - suspect_micros - deleted_micros) STORED;

COMMENT ON COLUMN collection_months.left_micros IS 'What the cap leaves; below zero after a breach; null = no cap.';

-- As in 047.
CREATE OR REPLACE FUNCTION gleaner_month_left(p_org uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
  month_left bigint;
BEGIN
  LOOP
    SELECT left_micros INTO month_left FROM collection_months
      WHERE org_id = p_org AND month = this_month AND cap_micros IS NOT NULL
      FOR NO KEY UPDATE;
    IF FOUND THEN
      RETURN month_left;
    ELSIF EXISTS (SELECT FROM collection_months WHERE org_id = p_org AND month = this_month) THEN
      RETURN NULL;
    END IF;
    PERFORM gleaner_open_month(p_org, this_month);
  END LOOP;
END
$$;
