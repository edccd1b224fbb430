-- ============================================================================
-- 040: Categories of a run, and what items lack
-- ============================================================================

-- ============================================================================
-- 1. Collection Run Categories
-- ============================================================================
-- One row per category of a run: the work of the products phase. `step` is what
-- the list adapter has to do next, so any worker can go on with it.
CREATE TABLE collection_run_categories (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  run_id uuid NOT NULL REFERENCES collection_runs(id) ON DELETE CASCADE,
  category_key text NOT NULL,
  name text NOT NULL,
  position integer NOT NULL,
  category jsonb NOT NULL,
  status text NOT NULL DEFAULT 'pending'
    CONSTRAINT collection_run_categories_status_known CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
  step jsonb NOT NULL,
  epoch integer NOT NULL DEFAULT 0 CONSTRAINT collection_run_categories_epoch_range CHECK (epoch >= 0),
  attempt integer NOT NULL DEFAULT 0 CONSTRAINT collection_run_categories_attempt_range CHECK (attempt >= 0),
  not_before timestamptz,
  product_count integer NOT NULL DEFAULT 0 CONSTRAINT collection_run_categories_products_range CHECK (product_count >= 0),
  error_code text,
  error_message text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  CONSTRAINT collection_run_categories_unique UNIQUE (run_id, category_key)
);

COMMENT ON COLUMN collection_run_categories.step IS 'The next ListStep of the adapter (providers/types.ts).';
COMMENT ON COLUMN collection_run_categories.product_count IS 'Products this list named, also those another category had named before.';

CREATE INDEX idx_collection_run_categories_claim ON collection_run_categories(run_id, position) WHERE status = 'pending';

-- ============================================================================
-- 2. Items
-- ============================================================================
ALTER TABLE collection_items
  ADD COLUMN parent_id uuid,
  ADD COLUMN rung smallint NOT NULL DEFAULT 1,
  ADD COLUMN attempt integer NOT NULL DEFAULT 0,
  ADD COLUMN epoch integer NOT NULL DEFAULT 0,
  ADD COLUMN not_before timestamptz,
  ADD COLUMN outcome text,
  ADD COLUMN new_to_org boolean NOT NULL DEFAULT false,
  ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0,
  ADD COLUMN finished_at timestamptz,
  ADD CONSTRAINT collection_items_unique UNIQUE (run_id, item_type, external_id),
  ADD CONSTRAINT collection_items_outcome_known
    CHECK (outcome IN ('found', 'none', 'blocked', 'drift', 'rejected', 'skipped')),
  ADD CONSTRAINT collection_items_outcome_fits_status CHECK (
    CASE status
      WHEN 'completed' THEN item_type = 'ebay_seller' OR outcome IN ('found', 'none')
      WHEN 'failed' THEN outcome IN ('blocked', 'drift', 'rejected')
      WHEN 'skipped' THEN outcome = 'skipped'
      ELSE outcome IS NULL
    END IS TRUE),
  ADD CONSTRAINT collection_items_numbers_range
    CHECK (rung BETWEEN 1 AND 9 AND attempt >= 0 AND epoch >= 0 AND cost_micros >= 0
      AND cost_cents = ceil(cost_micros / 10000.0));

COMMENT ON COLUMN collection_items.parent_id IS 'Of an ebay_seller: the item of the product whose search first brought this seller in this run. No foreign key: both go with the run, and the check cost a tenth of a booking.';
COMMENT ON COLUMN collection_items.external_id IS 'ASIN, or the normalised name of the seller.';
COMMENT ON COLUMN collection_items.rung IS 'Rung of the query ladder that is to be tried, or was tried last.';
COMMENT ON COLUMN collection_items.epoch IS 'Raised by every claim. A booking takes effect only when its epoch still matches.';
COMMENT ON COLUMN collection_items.new_to_org IS 'Of an ebay_seller: this run brought the seller to the organisation.';
COMMENT ON COLUMN collection_items.cost_cents IS 'cost_micros in cents, rounded up.';

COMMENT ON COLUMN collection_items.cost_micros IS 'Sum of charge_micros over the settled calls of this product.';

-- The unique constraint begins with run_id: an index on it alone would only be written, three times per product.
DROP INDEX idx_collection_items_run_id;

-- The queue: first rungs before second ones, then in the order of insertion (ids are UUID version 7).
CREATE INDEX idx_collection_items_claim ON collection_items(run_id, rung, id)
  WHERE status = 'pending' AND item_type = 'amazon_product';

-- ============================================================================
-- 3. Collection Category Products
-- ============================================================================
-- Which list named which product, at which rank. A product in two categories
-- has two rows here and one item: it is searched once.
CREATE TABLE collection_category_products (
  category_id uuid NOT NULL REFERENCES collection_run_categories(id) ON DELETE CASCADE,
  item_id uuid NOT NULL REFERENCES collection_items(id) ON DELETE CASCADE,
  rank integer CONSTRAINT collection_category_products_rank_range CHECK (rank >= 1),
  CONSTRAINT collection_category_products_pkey PRIMARY KEY (category_id, item_id)
);

CREATE INDEX idx_collection_category_products_item_id ON collection_category_products(item_id);

-- ============================================================================
-- 4. Counters And State Machine Of Items
-- ============================================================================
-- Once per statement, not per row: a slice of 200 items costs one UPDATE of the run.
CREATE FUNCTION gleaner_items_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE collection_runs r SET
    total_items = r.total_items + d.products,
    pending_items = r.pending_items + d.pending,
    processed_items = r.processed_items + d.skipped,
    skipped_items = r.skipped_items + d.skipped,
    seller_items = r.seller_items + d.sellers,
    new_sellers = r.new_sellers + d.new_sellers
  FROM (
    SELECT run_id,
      count(*) FILTER (WHERE item_type = 'amazon_product') AS products,
      count(*) FILTER (WHERE item_type = 'amazon_product' AND status = 'pending') AS pending,
      count(*) FILTER (WHERE item_type = 'amazon_product' AND status = 'skipped') AS skipped,
      count(*) FILTER (WHERE item_type = 'ebay_seller') AS sellers,
      count(*) FILTER (WHERE item_type = 'ebay_seller' AND new_to_org) AS new_sellers
    FROM inserted GROUP BY run_id
  ) d WHERE r.id = d.run_id;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_items_inserted AFTER INSERT ON collection_items
  REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION gleaner_items_inserted();

CREATE FUNCTION gleaner_item_begins() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  RAISE EXCEPTION 'a product begins as pending or skipped, a seller as completed, not as %', NEW.status
    USING ERRCODE = 'GL002';
END
$$;

CREATE TRIGGER collection_items_begin BEFORE INSERT ON collection_items
  FOR EACH ROW WHEN (NOT (
    (NEW.item_type = 'amazon_product' AND NEW.status IN ('pending', 'skipped'))
    OR (NEW.item_type = 'ebay_seller' AND NEW.status = 'completed')))
  EXECUTE FUNCTION gleaner_item_begins();

-- The condition is looked at row by row without calling the function, which only ever raises.
CREATE FUNCTION gleaner_item_illegal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  RAISE EXCEPTION 'an item cannot go from % (epoch %) to % (epoch %), nor become another item',
    OLD.status, OLD.epoch, NEW.status, NEW.epoch USING ERRCODE = 'GL002';
END
$$;

CREATE TRIGGER collection_items_illegal BEFORE UPDATE ON collection_items
  FOR EACH ROW WHEN (
    (OLD.status NOT IN ('pending', 'processing')
      AND (NEW.status <> OLD.status OR NEW.outcome IS DISTINCT FROM OLD.outcome))
    OR NEW.epoch < OLD.epoch OR NEW.cost_micros < OLD.cost_micros OR NEW.id <> OLD.id OR NEW.run_id <> OLD.run_id
    OR NEW.item_type <> OLD.item_type OR NEW.external_id <> OLD.external_id OR NEW.new_to_org <> OLD.new_to_org)
  EXECUTE FUNCTION gleaner_item_illegal();

CREATE FUNCTION gleaner_items_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE collection_runs r SET
    pending_items = r.pending_items + d.pending,
    processing_items = r.processing_items + d.processing,
    processed_items = r.processed_items + d.found + d.none + d.blocked + d.drift + d.rejected + d.skipped,
    failed_items = r.failed_items + d.blocked + d.drift + d.rejected,
    found_items = r.found_items + d.found,
    none_items = r.none_items + d.none,
    blocked_items = r.blocked_items + d.blocked,
    drift_items = r.drift_items + d.drift,
    rejected_items = r.rejected_items + d.rejected,
    skipped_items = r.skipped_items + d.skipped
  FROM (
    SELECT run_id,
      coalesce(sum(sign) FILTER (WHERE status = 'pending'), 0) AS pending,
      coalesce(sum(sign) FILTER (WHERE status = 'processing'), 0) AS processing,
      coalesce(sum(sign) FILTER (WHERE outcome = 'found'), 0) AS found,
      coalesce(sum(sign) FILTER (WHERE outcome = 'none'), 0) AS none,
      coalesce(sum(sign) FILTER (WHERE outcome = 'blocked'), 0) AS blocked,
      coalesce(sum(sign) FILTER (WHERE outcome = 'drift'), 0) AS drift,
      coalesce(sum(sign) FILTER (WHERE outcome = 'rejected'), 0) AS rejected,
      coalesce(sum(sign) FILTER (WHERE outcome = 'skipped'), 0) AS skipped
    FROM (
      SELECT run_id, status, outcome, 1 AS sign FROM after WHERE item_type = 'amazon_product'
      UNION ALL
      SELECT run_id, status, outcome, -1 FROM before WHERE item_type = 'amazon_product'
    ) moved GROUP BY run_id
  ) d WHERE r.id = d.run_id;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_items_updated AFTER UPDATE ON collection_items
  REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION gleaner_items_updated();

-- Items go with their run, never alone: a counter would stay behind.
CREATE FUNCTION gleaner_only_with_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are deleted with their run, not alone', TG_TABLE_NAME USING ERRCODE = 'GL003';
END
$$;

CREATE TRIGGER collection_items_only_with_run BEFORE DELETE ON collection_items
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_only_with_run();
CREATE TRIGGER collection_run_categories_only_with_run BEFORE DELETE ON collection_run_categories
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION gleaner_only_with_run();

-- ============================================================================
-- 5. Counters And State Machine Of Categories
-- ============================================================================
CREATE FUNCTION gleaner_category_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  was text := CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END;
BEGIN
  IF TG_OP = 'INSERT' AND NEW.status <> 'pending' THEN
    RAISE EXCEPTION 'a category begins as pending, not as %', NEW.status USING ERRCODE = 'GL002';
  END IF;
  IF TG_OP = 'UPDATE' AND ((was IN ('completed', 'failed') AND NEW.status <> was) OR NEW.epoch < OLD.epoch
    OR NEW.run_id <> OLD.run_id) THEN
    RAISE EXCEPTION 'a category cannot go from % to %', was, NEW.status USING ERRCODE = 'GL002';
  END IF;
  IF was IS DISTINCT FROM NEW.status THEN
    UPDATE collection_runs SET
      total_categories = total_categories + (TG_OP = 'INSERT')::int,
      open_categories = open_categories + (NEW.status IN ('pending', 'processing'))::int
        - coalesce(was IN ('pending', 'processing'), false)::int,
      failed_categories = failed_categories + (NEW.status = 'failed')::int
    WHERE id = NEW.run_id;
  END IF;
  RETURN NULL;
END
$$;

CREATE TRIGGER collection_run_categories_changed AFTER INSERT OR UPDATE ON collection_run_categories
  FOR EACH ROW EXECUTE FUNCTION gleaner_category_changed();
