-- The index is analysed when it has doubled, instead of when it has grown by a tenth, because only lists of messages need its statistics.
-- It is vacuumed as before.
alter table message_index set (autovacuum_analyze_scale_factor = 1, autovacuum_analyze_threshold = 100000);
