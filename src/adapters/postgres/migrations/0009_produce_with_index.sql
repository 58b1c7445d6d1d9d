-- The table message_index is analysed when it has doubled, instead of when it has grown by a tenth, because only lists of messages need its
-- statistics. It is vacuumed as before.
alter table message_index set (autovacuum_analyze_scale_factor = 1, autovacuum_analyze_threshold = 100000);

-- The view has one row: the cursor of an up-to-date reader of the webhooks, the checkpoint of the read model, and whether the read model lacks an
-- acknowledged change. If such a change is missing, the cursor contains its position. Every reader's own cursor then differs from this one, until the
-- read model has the change.
create view webhooks_cursor as
  select (build || '.' || lifted || '@' || coalesce(checkpoint, '') || case when noted.position is null then '' else '<' || noted.position end)
      collate "C" as cursor,
    checkpoint, noted.position is not null as is_behind
  from projections left join acknowledged_changes noted on noted.projection = name and noted.position > coalesce(checkpoint, '')
  where name = 'webhooks' and is_live;
