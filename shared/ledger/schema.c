/* Names and units here are a promise to everyone's queries: docs/ledger.md. A change is a new step. */
#include "shared/ledger/schema.h"

static const char *const version_1[] = {

    "CREATE TABLE runs("
    "run_id INTEGER PRIMARY KEY, run TEXT NOT NULL, label TEXT, role TEXT NOT NULL, node TEXT NOT NULL, "
    "incarnation TEXT NOT NULL, parent_incarnation TEXT, started_ms INTEGER NOT NULL, ended_ms INTEGER, "
    "state TEXT NOT NULL, stop_reason TEXT, seed TEXT, plan TEXT NOT NULL, schema TEXT NOT NULL, "
    "build TEXT NOT NULL, environment TEXT NOT NULL)",
    "CREATE TABLE nodes("
    "run_id INTEGER, node TEXT NOT NULL, incarnation TEXT NOT NULL, kind TEXT NOT NULL, "
    "admitted_ms INTEGER NOT NULL, retired_ms INTEGER, UNIQUE(run_id, node, incarnation))",
    "CREATE TABLE versions("
    "run_id INTEGER NOT NULL, version INTEGER NOT NULL, parent_version INTEGER, made_by TEXT NOT NULL, "
    "rule TEXT, made_ms INTEGER NOT NULL, commits INTEGER, contributions INTEGER, scale REAL, digest TEXT, "
    "ledger_chain_digest TEXT, down_bytes INTEGER, up_bytes INTEGER, published INTEGER NOT NULL DEFAULT 0, "
    "published_ms INTEGER, published_from INTEGER, published_digest TEXT, chain_digest TEXT, "
    "increment_bytes INTEGER, PRIMARY KEY(run_id, version)) WITHOUT ROWID",
    "CREATE TABLE contributions("
    "contribution_id INTEGER PRIMARY KEY, run_id INTEGER, judged_ms INTEGER NOT NULL, node TEXT NOT NULL, "
    "incarnation TEXT NOT NULL, sequence INTEGER NOT NULL, base_version INTEGER, staleness INTEGER, "
    "origins TEXT, staleness_factor REAL, weight_applied REAL, norm_added REAL, weight_samples INTEGER, "
    "region_samples INTEGER, samples INTEGER, steps REAL, loss REAL, update_norm REAL, cosine REAL, "
    "codec TEXT, wire_bytes INTEGER, raw_bytes INTEGER, payload_crc32c INTEGER, verdict TEXT NOT NULL, "
    "reason TEXT, below_updates INTEGER, below_up_bytes INTEGER, below_down_bytes INTEGER, "
    "below_raw_bytes INTEGER, version INTEGER, void_reason TEXT)",
    "CREATE INDEX contributions_version ON contributions(run_id, version)",
    "CREATE INDEX contributions_pending ON contributions(run_id) "
    "WHERE version IS NULL AND void_reason IS NULL AND verdict = 'accepted'",
    "CREATE TABLE evaluations("
    "run_id INTEGER, version INTEGER NOT NULL, evaluated_ms INTEGER NOT NULL, accuracy REAL, loss REAL, "
    "samples INTEGER, duration_ms INTEGER)",
    "CREATE INDEX evaluations_version ON evaluations(run_id, version)",
    "CREATE TABLE events("
    "event_id INTEGER PRIMARY KEY, run_id INTEGER, at_ms INTEGER NOT NULL, level TEXT NOT NULL, "
    "event TEXT NOT NULL, node TEXT, detail TEXT)",
    "CREATE INDEX events_run ON events(run_id)",
    "CREATE TABLE forwards("
    "run_id INTEGER, incarnation TEXT NOT NULL, sequence INTEGER NOT NULL, made_ms INTEGER NOT NULL, "
    "base_version INTEGER, origins TEXT, samples INTEGER, weight_samples INTEGER, region_samples INTEGER, "
    "steps REAL, loss REAL, codec TEXT, wire_bytes INTEGER, raw_bytes INTEGER, below_updates INTEGER, "
    "below_up_bytes INTEGER, below_down_bytes INTEGER, below_raw_bytes INTEGER, judged_ms INTEGER, "
    "verdict TEXT, reason TEXT, staleness INTEGER, weight_applied REAL, contained_ms INTEGER, "
    "UNIQUE(run_id, incarnation, sequence))",
    "CREATE TABLE parent_models("
    "model_id INTEGER PRIMARY KEY, run_id INTEGER, received_ms INTEGER NOT NULL, version INTEGER NOT NULL, "
    "from_version INTEGER, kind TEXT NOT NULL, wire_bytes INTEGER NOT NULL, chain_digest TEXT, "
    "applied_sequence INTEGER, fence INTEGER)",
    "CREATE INDEX parent_models_run ON parent_models(run_id)",

    /* p95 is by nearest rank: the smallest staleness that at least 95 of 100 updates do not exceed. */

    "CREATE VIEW run_staleness AS SELECT run_id, count(*) AS updates, avg(staleness) AS staleness_mean, "
    "min(CASE WHEN rank * 100 >= n * 95 THEN staleness END) AS staleness_p95, "
    "max(staleness) AS staleness_max FROM (SELECT run_id, staleness, "
    "row_number() OVER (PARTITION BY run_id ORDER BY staleness) AS rank, "
    "count(*) OVER (PARTITION BY run_id) AS n FROM contributions "
    "WHERE verdict = 'accepted' AND staleness IS NOT NULL) GROUP BY run_id",
    "CREATE VIEW version_staleness AS SELECT run_id, version, count(*) AS updates, "
    "avg(staleness) AS staleness_mean, "
    "min(CASE WHEN rank * 100 >= n * 95 THEN staleness END) AS staleness_p95, "
    "max(staleness) AS staleness_max FROM (SELECT run_id, version, staleness, "
    "row_number() OVER (PARTITION BY run_id, version ORDER BY staleness) AS rank, "
    "count(*) OVER (PARTITION BY run_id, version) AS n FROM contributions "
    "WHERE verdict = 'accepted' AND version IS NOT NULL AND staleness IS NOT NULL) "
    "GROUP BY run_id, version",
    "CREATE VIEW staleness_histogram AS SELECT run_id, staleness, "
    "sum(verdict = 'accepted') AS accepted, sum(verdict = 'refused') AS refused, "
    "sum(CASE WHEN verdict = 'accepted' THEN samples ELSE 0 END) AS samples, "
    "avg(CASE WHEN verdict = 'accepted' THEN weight_applied END) AS weight_applied_mean "
    "FROM contributions WHERE staleness IS NOT NULL GROUP BY run_id, staleness",

    /* Devices that talk to the cloud directly are a hop of their own. What a cloud or edge sent down is
     * counted by commit for all its children together; it stands with the edges if there are any. */

    "CREATE VIEW bytes_by_hop AS "
    "WITH kinds AS (SELECT run_id, node, max(kind = 'edge') AS is_edge FROM nodes GROUP BY run_id, node), "
    "tiers AS (SELECT run_id, role, role = 'cloud' AND (EXISTS (SELECT 1 FROM nodes "
    "WHERE nodes.run_id = runs.run_id AND kind = 'edge')) AS has_edges FROM runs), "
    "parts AS (SELECT c.run_id AS run_id, CASE WHEN t.role <> 'cloud' THEN 'device-edge' "
    "WHEN coalesce(k.is_edge, 0) THEN 'edge-cloud' ELSE 'device-cloud' END AS hop, 1 AS updates, "
    "c.wire_bytes AS up, 0 AS down, c.raw_bytes AS raw FROM contributions c "
    "JOIN tiers t ON t.run_id = c.run_id LEFT JOIN kinds k ON k.run_id = c.run_id AND k.node = c.node "
    "UNION ALL SELECT c.run_id, 'device-edge', c.below_updates, c.below_up_bytes, c.below_down_bytes, "
    "c.below_raw_bytes FROM contributions c WHERE c.below_updates > 0 OR c.below_down_bytes > 0 "
    "OR c.below_up_bytes > 0 "
    "UNION ALL SELECT v.run_id, CASE WHEN t.role <> 'cloud' THEN 'device-edge' "
    "WHEN t.has_edges THEN 'edge-cloud' ELSE 'device-cloud' END, 0, 0, v.down_bytes, 0 "
    "FROM versions v JOIN tiers t ON t.run_id = v.run_id WHERE v.down_bytes > 0 "
    "UNION ALL SELECT f.run_id, CASE t.role WHEN 'device' THEN 'device-edge' ELSE 'edge-cloud' END, 1, "
    "f.wire_bytes, 0, f.raw_bytes FROM forwards f JOIN tiers t ON t.run_id = f.run_id "
    "UNION ALL SELECT p.run_id, CASE t.role WHEN 'device' THEN 'device-edge' ELSE 'edge-cloud' END, 0, 0, "
    "p.wire_bytes, 0 FROM parent_models p JOIN tiers t ON t.run_id = p.run_id) "
    "SELECT run_id, hop, coalesce(sum(updates), 0) AS updates, coalesce(sum(up), 0) AS up_bytes, "
    "coalesce(sum(down), 0) AS down_bytes, coalesce(sum(raw), 0) AS up_f32_bytes, "
    "CASE WHEN sum(up) > 0 THEN 1.0 * sum(raw) / sum(up) END AS up_compression "
    "FROM parts GROUP BY run_id, hop",

    "CREATE VIEW run_summary AS "
    "WITH hops AS (SELECT run_id, "
    "sum(CASE WHEN hop = 'device-edge' THEN up_bytes ELSE 0 END) AS device_edge_up_bytes, "
    "sum(CASE WHEN hop = 'device-edge' THEN down_bytes ELSE 0 END) AS device_edge_down_bytes, "
    "sum(CASE WHEN hop <> 'device-edge' THEN up_bytes ELSE 0 END) AS cloud_up_bytes, "
    "sum(CASE WHEN hop <> 'device-edge' THEN down_bytes ELSE 0 END) AS cloud_down_bytes, "
    "sum(up_f32_bytes) AS up_f32_bytes FROM bytes_by_hop GROUP BY run_id), "
    "made AS (SELECT run_id, max(version) AS last_version, sum(made_by = 'commit') AS versions, "
    "sum(published) AS published_versions, max(max(made_ms), coalesce(max(published_ms), 0)) AS last_ms "
    "FROM versions GROUP BY run_id), "
    "judged AS (SELECT run_id, sum(verdict = 'accepted') AS accepted, sum(verdict = 'refused') AS refused, "
    "sum(CASE WHEN verdict = 'accepted' THEN samples ELSE 0 END) AS samples, "
    "sum(CASE WHEN verdict = 'accepted' THEN coalesce(below_updates, 0) ELSE 0 END) AS below_updates "
    "FROM contributions GROUP BY run_id), "
    "best AS (SELECT run_id, max(accuracy) AS best_accuracy FROM evaluations GROUP BY run_id), "
    "newest AS (SELECT run_id, accuracy, loss, row_number() OVER (PARTITION BY run_id "
    "ORDER BY version DESC, evaluated_ms DESC) AS rank FROM evaluations) "
    "SELECT r.run_id AS run_id, r.run AS run, r.label AS label, r.role AS role, r.node AS node, r.state AS "
    "state, "
    "r.stop_reason AS stop_reason, r.started_ms AS started_ms, r.ended_ms AS ended_ms, "
    "(coalesce(r.ended_ms, m.last_ms, r.started_ms) - r.started_ms) / 1000.0 AS seconds, "
    "coalesce(m.versions, 0) AS versions, m.last_version AS last_version, "
    "coalesce(m.published_versions, 0) AS published_versions, b.best_accuracy AS best_accuracy, "
    "n.accuracy AS last_accuracy, n.loss AS last_loss, coalesce(j.accepted, 0) AS updates, "
    "coalesce(j.refused, 0) AS refused, coalesce(j.samples, 0) AS samples, "
    "coalesce(j.below_updates, 0) AS below_updates, s.staleness_mean AS staleness_mean, "
    "s.staleness_p95 AS staleness_p95, s.staleness_max AS staleness_max, "
    "coalesce(h.device_edge_up_bytes, 0) AS device_edge_up_bytes, "
    "coalesce(h.device_edge_down_bytes, 0) AS device_edge_down_bytes, "
    "coalesce(h.cloud_up_bytes, 0) AS cloud_up_bytes, coalesce(h.cloud_down_bytes, 0) AS cloud_down_bytes, "
    "coalesce(h.up_f32_bytes, 0) AS up_f32_bytes "
    "FROM runs r LEFT JOIN made m ON m.run_id = r.run_id LEFT JOIN judged j ON j.run_id = r.run_id "
    "LEFT JOIN best b ON b.run_id = r.run_id LEFT JOIN newest n ON n.run_id = r.run_id AND n.rank = 1 "
    "LEFT JOIN run_staleness s ON s.run_id = r.run_id LEFT JOIN hops h ON h.run_id = r.run_id",
    "CREATE VIEW version_lineage AS "
    "WITH parts AS (SELECT run_id, version, count(*) AS updates, count(DISTINCT node) AS nodes, "
    "sum(samples) AS samples, sum(below_updates) AS below_updates, sum(wire_bytes) AS update_bytes, "
    "sum(raw_bytes) AS update_f32_bytes, sum(below_up_bytes) AS below_up_bytes, "
    "sum(below_down_bytes) AS below_down_bytes, group_concat(DISTINCT node) AS from_nodes "
    "FROM contributions WHERE version IS NOT NULL GROUP BY run_id, version), "
    "marks AS (SELECT run_id, version, accuracy, loss, row_number() OVER (PARTITION BY run_id, version "
    "ORDER BY evaluated_ms DESC) AS rank FROM evaluations) "
    "SELECT v.run_id AS run_id, v.version AS version, v.parent_version AS parent_version, "
    "v.made_by AS made_by, v.rule AS rule, v.made_ms AS made_ms, v.published AS published, "
    "m.accuracy AS accuracy, m.loss AS loss, coalesce(p.updates, 0) AS contributions, "
    "coalesce(p.nodes, 0) AS nodes, p.from_nodes AS from_nodes, coalesce(p.samples, 0) AS samples, "
    "coalesce(p.below_updates, 0) AS below_updates, s.staleness_mean AS staleness_mean, "
    "s.staleness_p95 AS staleness_p95, s.staleness_max AS staleness_max, "
    "coalesce(p.update_bytes, 0) AS update_bytes, coalesce(p.update_f32_bytes, 0) AS update_f32_bytes, "
    "coalesce(v.down_bytes, 0) AS down_bytes, coalesce(p.below_up_bytes, 0) AS below_up_bytes, "
    "coalesce(p.below_down_bytes, 0) AS below_down_bytes, v.digest AS digest, "
    "v.chain_digest AS chain_digest, v.ledger_chain_digest AS ledger_chain_digest "
    "FROM versions v LEFT JOIN parts p ON p.run_id = v.run_id AND p.version = v.version "
    "LEFT JOIN marks m ON m.run_id = v.run_id AND m.version = v.version AND m.rank = 1 "
    "LEFT JOIN version_staleness s ON s.run_id = v.run_id AND s.version = v.version",
    "CREATE VIEW node_health AS "
    "WITH known AS (SELECT run_id, node, max(kind) AS kind, count(*) AS incarnations, "
    "min(admitted_ms) AS admitted_ms FROM nodes GROUP BY run_id, node), "
    "judged AS (SELECT run_id, node, max(judged_ms) AS last_ms, sum(verdict = 'accepted') AS accepted, "
    "sum(verdict = 'refused') AS refused, sum(void_reason IS NOT NULL) AS voided, "
    "sum(CASE WHEN verdict = 'accepted' THEN samples ELSE 0 END) AS samples, "
    "avg(CASE WHEN verdict = 'accepted' THEN staleness END) AS staleness_mean, "
    "max(CASE WHEN verdict = 'accepted' THEN staleness END) AS staleness_max, "
    "avg(CASE WHEN verdict = 'accepted' THEN loss END) AS loss_mean, "
    "avg(CASE WHEN verdict = 'accepted' THEN update_norm END) AS update_norm_mean, "
    "avg(CASE WHEN verdict = 'accepted' THEN cosine END) AS cosine_mean, "
    "sum(wire_bytes) AS up_bytes, sum(raw_bytes) AS up_f32_bytes FROM contributions GROUP BY run_id, node) "
    "SELECT k.run_id AS run_id, k.node AS node, k.kind AS kind, k.incarnations AS incarnations, "
    "k.admitted_ms AS admitted_ms, j.last_ms AS last_ms, coalesce(j.accepted, 0) AS accepted, "
    "coalesce(j.refused, 0) AS refused, coalesce(j.voided, 0) AS voided, coalesce(j.samples, 0) AS "
    "samples, "
    "j.staleness_mean AS staleness_mean, j.staleness_max AS staleness_max, j.loss_mean AS loss_mean, "
    "j.update_norm_mean AS update_norm_mean, j.cosine_mean AS cosine_mean, "
    "coalesce(j.up_bytes, 0) AS up_bytes, coalesce(j.up_f32_bytes, 0) AS up_f32_bytes "
    "FROM known k LEFT JOIN judged j ON j.run_id IS k.run_id AND j.node = k.node",

    NULL};

static const char *const version_2[] = {
    "ALTER TABLE runs ADD COLUMN ledger_format INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE versions ADD COLUMN verdicts INTEGER", NULL};

static const char *const version_3[] = {"ALTER TABLE contributions ADD COLUMN effect REAL",
                                        "ALTER TABLE contributions ADD COLUMN label_divergence REAL",
                                        "ALTER TABLE versions ADD COLUMN published_codec TEXT",
                                        "ALTER TABLE versions ADD COLUMN published_why TEXT", NULL};

static const char *const version_4[] = {
    "ALTER TABLE contributions ADD COLUMN below_hops TEXT", "ALTER TABLE forwards ADD COLUMN below_hops TEXT",
    "DROP VIEW run_summary", "DROP VIEW bytes_by_hop",

    /* Hops are named from the devices' up: device-edge, edge-edge, edge-edge-2, ..., and the cloud's. An
     * edge's own links are above those of the deepest edge below it. */

    "CREATE VIEW bytes_by_hop AS "
    "WITH kinds AS (SELECT run_id, node, max(kind = 'edge') AS is_edge FROM nodes GROUP BY run_id, node), "
    "tiers AS (SELECT r.run_id AS run_id, r.role AS role, r.role = 'cloud' AND (EXISTS (SELECT 1 FROM nodes "
    "WHERE nodes.run_id = r.run_id AND kind = 'edge')) AS has_edges, CASE WHEN r.role <> 'cloud' THEN "
    "(SELECT coalesce(max(coalesce(json_array_length(c.below_hops), 1)), 0) FROM contributions c "
    "WHERE c.run_id = r.run_id AND c.below_updates IS NOT NULL) END AS own FROM runs r), "
    "parts AS (SELECT c.run_id AS run_id, CASE WHEN t.role <> 'cloud' THEN NULL "
    "WHEN coalesce(k.is_edge, 0) THEN 'edge-cloud' ELSE 'device-cloud' END AS hop, t.own AS level, "
    "1 AS updates, c.wire_bytes AS up, 0 AS down, c.raw_bytes AS raw FROM contributions c "
    "JOIN tiers t ON t.run_id = c.run_id LEFT JOIN kinds k ON k.run_id = c.run_id AND k.node = c.node "
    "UNION ALL SELECT c.run_id, NULL, 0, c.below_updates, c.below_up_bytes, c.below_down_bytes, "
    "c.below_raw_bytes FROM contributions c WHERE c.below_hops IS NULL AND (c.below_updates > 0 "
    "OR c.below_down_bytes > 0 OR c.below_up_bytes > 0) "
    "UNION ALL SELECT c.run_id, NULL, h.key, json_extract(h.value, '$[0]'), json_extract(h.value, '$[1]'), "
    "json_extract(h.value, '$[2]'), json_extract(h.value, '$[3]') "
    "FROM contributions c, json_each(c.below_hops) h WHERE c.below_hops IS NOT NULL "
    "UNION ALL SELECT v.run_id, CASE WHEN t.role <> 'cloud' THEN NULL "
    "WHEN t.has_edges THEN 'edge-cloud' ELSE 'device-cloud' END, t.own, 0, 0, v.down_bytes, 0 "
    "FROM versions v JOIN tiers t ON t.run_id = v.run_id WHERE v.down_bytes > 0 "
    "UNION ALL SELECT f.run_id, CASE t.role WHEN 'device' THEN NULL ELSE 'edge-cloud' END, 0, 1, "
    "f.wire_bytes, 0, f.raw_bytes FROM forwards f JOIN tiers t ON t.run_id = f.run_id "
    "UNION ALL SELECT p.run_id, CASE t.role WHEN 'device' THEN NULL ELSE 'edge-cloud' END, 0, 0, 0, "
    "p.wire_bytes, 0 FROM parent_models p JOIN tiers t ON t.run_id = p.run_id), "
    "named AS (SELECT run_id, coalesce(hop, CASE level WHEN 0 THEN 'device-edge' WHEN 1 THEN 'edge-edge' "
    "ELSE 'edge-edge-' || level END) AS hop, updates, up, down, raw FROM parts) "
    "SELECT run_id, hop, coalesce(sum(updates), 0) AS updates, coalesce(sum(up), 0) AS up_bytes, "
    "coalesce(sum(down), 0) AS down_bytes, coalesce(sum(raw), 0) AS up_f32_bytes, "
    "CASE WHEN sum(up) > 0 THEN 1.0 * sum(raw) / sum(up) END AS up_compression "
    "FROM named GROUP BY run_id, hop",

    "CREATE VIEW run_summary AS "
    "WITH hops AS (SELECT run_id, "
    "sum(CASE WHEN hop = 'device-edge' THEN up_bytes ELSE 0 END) AS device_edge_up_bytes, "
    "sum(CASE WHEN hop = 'device-edge' THEN down_bytes ELSE 0 END) AS device_edge_down_bytes, "
    "sum(CASE WHEN hop LIKE 'edge-edge%' THEN up_bytes ELSE 0 END) AS edge_edge_up_bytes, "
    "sum(CASE WHEN hop LIKE '%-cloud' THEN up_bytes ELSE 0 END) AS cloud_up_bytes, "
    "sum(CASE WHEN hop LIKE 'edge-edge%' THEN down_bytes ELSE 0 END) AS edge_edge_down_bytes, "
    "sum(CASE WHEN hop LIKE '%-cloud' THEN down_bytes ELSE 0 END) AS cloud_down_bytes, "
    "sum(up_f32_bytes) AS up_f32_bytes FROM bytes_by_hop GROUP BY run_id), "
    "made AS (SELECT run_id, max(version) AS last_version, sum(made_by = 'commit') AS versions, "
    "sum(published) AS published_versions, max(max(made_ms), coalesce(max(published_ms), 0)) AS last_ms "
    "FROM versions GROUP BY run_id), "
    "judged AS (SELECT run_id, sum(verdict = 'accepted') AS accepted, sum(verdict = 'refused') AS refused, "
    "sum(CASE WHEN verdict = 'accepted' THEN samples ELSE 0 END) AS samples, "
    "sum(CASE WHEN verdict = 'accepted' THEN coalesce(below_updates, 0) ELSE 0 END) AS below_updates "
    "FROM contributions GROUP BY run_id), "
    "best AS (SELECT run_id, max(accuracy) AS best_accuracy FROM evaluations GROUP BY run_id), "
    "newest AS (SELECT run_id, accuracy, loss, row_number() OVER (PARTITION BY run_id "
    "ORDER BY version DESC, evaluated_ms DESC) AS rank FROM evaluations) "
    "SELECT r.run_id AS run_id, r.run AS run, r.label AS label, r.role AS role, r.node AS node, r.state AS "
    "state, "
    "r.stop_reason AS stop_reason, r.started_ms AS started_ms, r.ended_ms AS ended_ms, "
    "(coalesce(r.ended_ms, m.last_ms, r.started_ms) - r.started_ms) / 1000.0 AS seconds, "
    "coalesce(m.versions, 0) AS versions, m.last_version AS last_version, "
    "coalesce(m.published_versions, 0) AS published_versions, b.best_accuracy AS best_accuracy, "
    "n.accuracy AS last_accuracy, n.loss AS last_loss, coalesce(j.accepted, 0) AS updates, "
    "coalesce(j.refused, 0) AS refused, coalesce(j.samples, 0) AS samples, "
    "coalesce(j.below_updates, 0) AS below_updates, s.staleness_mean AS staleness_mean, "
    "s.staleness_p95 AS staleness_p95, s.staleness_max AS staleness_max, "
    "coalesce(h.device_edge_up_bytes, 0) AS device_edge_up_bytes, "
    "coalesce(h.device_edge_down_bytes, 0) AS device_edge_down_bytes, "
    "coalesce(h.edge_edge_up_bytes, 0) AS edge_edge_up_bytes, "
    "coalesce(h.edge_edge_down_bytes, 0) AS edge_edge_down_bytes, "
    "coalesce(h.cloud_up_bytes, 0) AS cloud_up_bytes, coalesce(h.cloud_down_bytes, 0) AS cloud_down_bytes, "
    "coalesce(h.up_f32_bytes, 0) AS up_f32_bytes "
    "FROM runs r LEFT JOIN made m ON m.run_id = r.run_id LEFT JOIN judged j ON j.run_id = r.run_id "
    "LEFT JOIN best b ON b.run_id = r.run_id LEFT JOIN newest n ON n.run_id = r.run_id AND n.rank = 1 "
    "LEFT JOIN run_staleness s ON s.run_id = r.run_id LEFT JOIN hops h ON h.run_id = r.run_id",

    NULL};

const struct trib_sql_step_row ledger_steps[] = {
    {1, version_1}, {2, version_2}, {3, version_3}, {4, version_4}};
const size_t ledger_step_count = sizeof ledger_steps / sizeof *ledger_steps;
