-- The index is analysed when it has doubled, instead of when it has grown by a tenth, because only lists of messages need its statistics.
-- It is vacuumed as before.
alter table message_index set (autovacuum_analyze_scale_factor = 1, autovacuum_analyze_threshold = 100000);

-- One row: the cursor of an up-to-date reader of the webhooks, the checkpoint of the read model, and whether the read model lacks an acknowledged
-- change. If such a change is missing, the cursor contains its position. So the cursor of every reader differs from it until the read model has the
-- change.
create view webhooks_cursor as
  select (build || '.' || lifted || '@' || coalesce(checkpoint, '') || case when noted.position is null then '' else '<' || noted.position end)
      collate "C" as cursor,
    checkpoint, noted.position is not null as is_behind
  from projections left join acknowledged_changes noted on noted.projection = name and noted.position > coalesce(checkpoint, '')
  where name = 'webhooks' and is_live;
