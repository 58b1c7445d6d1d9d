import type { ClientBase, QueryResultRow } from 'pg'

/** A table whose rows are copied. For a partitioned table, each partition is such a table. */
interface CopiedTable {
  /** The name with its schema, as statements can use it. */
  readonly name: string
  /** The columns that are copied, joined by commas. */
  readonly columns: string
}

/** The statements that create the schema of a backup, and the tables whose rows are loaded between them. */
export interface BackupSchema {
  /** Statements that create the schemas, functions, sequences and tables. Rows are loaded faster while there are no indexes. */
  readonly before: readonly string[]
  readonly tables: readonly CopiedTable[]
  /** Statements that create the constraints, indexes and views. */
  readonly after: readonly string[]
  /** The sequences, each with an expression that finds it in the restored database. */
  readonly sequences: readonly { readonly name: string; readonly reference: string }[]
  /** The kind and name of each object that the backup leaves out because Kolbak has not created it. */
  readonly skipped: readonly string[]
}

/** The schemas in which Kolbak has its tables. */
const isOurs = `n.nspname = 'public' or n.nspname ~ '^(projection_|delivery_history(_|$))'`
/** SQL that is true for an object of an extension. Such objects are left out, because the server of the restored database has its own extensions. */
const isOfExtension = (catalogue: string, oid: string) =>
  `exists (select from pg_depend e where e.classid = '${catalogue}'::regclass and e.objid = ${oid} and e.deptype = 'e')`

const rowsOf = async <R extends QueryResultRow>(client: ClientBase, text: string, values: unknown[] = []): Promise<R[]> =>
  (await client.query<R>(text, values)).rows
const textsOf = async (client: ClientBase, text: string, values: unknown[] = []): Promise<string[]> =>
  (await rowsOf<{ text: string }>(client, text, values)).map((row) => row.text)

/**
 * Describes all objects of Kolbak in a database, from the catalogues of Postgres. So a backup contains the schema as it is, with its partitions and
 * builds, and another version of Kolbak can restore it. The search_path of the transaction must be empty, because Postgres
 * then writes each name with its schema.
 */
export async function describeSchema(client: ClientBase): Promise<BackupSchema> {
  const relations = await listRelations(client)
  const columns = Map.groupBy(await listColumns(client), (column) => column.relation)
  const columnsOf = ({ oid }: Relation) => columns.get(oid) ?? []
  const isKept = (relation: Relation) => 'rp'.includes(relation.kind) && columnsOf(relation).every((column) => column.is_built_in)
  const tables = relations.filter(isKept)
  const sequences = await listSequences(client)
  const functions = await listFunctions(client)
  const views = await listViews(client)
  return {
    before: [
      ...(await textsOf(
        client,
        `select format('create schema %I', n.nspname) as text from pg_namespace n where (${isOurs}) and n.nspname <> 'public'`,
      )),
      ...functions.filter((fn) => fn.is_kept).map((fn) => fn.definition),
      ...sequences.flatMap(({ definition }) => (definition === null ? [] : [definition])),
      ...tables.filter(({ parent }) => parent === null).flatMap((table) => createTable(table, columnsOf(table))),
      ...tables.filter(({ parent }) => parent !== null).map(createPartition),
    ],
    tables: tables
      .filter(({ kind }) => kind === 'r')
      .map((table) => ({
        name: table.name,
        columns: columnsOf(table)
          .filter((column) => !column.is_generated)
          .map((column) => column.name)
          .join(', '),
      })),
    after: [
      ...(await listConstraintsAndIndexes(client, tables)),
      ...views.filter((view) => view.is_kept).map((view) => view.definition),
      ...sequences.flatMap(({ owner }) => (owner === null ? [] : [owner])),
    ],
    sequences,
    skipped: [
      ...relations.filter((relation) => !isKept(relation)).map(({ name }) => `table ${name}`),
      ...functions.filter((fn) => !fn.is_kept).map(({ name }) => `function ${name}`),
      ...views.filter((view) => !view.is_kept).map(({ name }) => `view ${name}`),
      ...(await listOthers(client)),
    ],
  }
}

interface Relation {
  readonly oid: number
  readonly name: string
  readonly kind: string
  /** The partitioned table of a partition, or null. */
  readonly parent: string | null
  readonly bound: string | null
  readonly key: string | null
  readonly options: string | null
}
const listRelations = (client: ClientBase): Promise<Relation[]> =>
  rowsOf(
    client,
    `select c.oid::int8::int4 as oid, c.oid::regclass::text as name, c.relkind as kind, i.inhparent::regclass::text as parent,
            pg_get_expr(c.relpartbound, c.oid) as bound, pg_get_partkeydef(c.oid) as key, array_to_string(c.reloptions, ', ') as options
     from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_inherits i on i.inhrelid = c.oid
     where (${isOurs}) and c.relkind in ('r', 'p', 'm', 'f') and not ${isOfExtension('pg_class', 'c.oid')}
     order by n.nspname, c.relname`,
  )

interface Column {
  readonly relation: number
  readonly name: string
  readonly definition: string
  readonly is_generated: boolean
  /** The way in which Postgres stores long values, or null for the default of the type. */
  readonly storage: string | null
  /** Whether the type belongs to Postgres itself. Kolbak uses only such types. */
  readonly is_built_in: boolean
}
const listColumns = (client: ClientBase): Promise<Column[]> =>
  rowsOf(
    client,
    `select a.attrelid::int8::int4 as relation, quote_ident(a.attname) as name, a.attgenerated <> '' as is_generated,
            concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
              case when a.attcollation <> t.typcollation then
                (select format('collate %I.%I', l.collnamespace::regnamespace::text, l.collname) from pg_collation l where l.oid = a.attcollation) end,
              case when a.attnotnull then 'not null' end,
              case when a.attgenerated <> '' then format('generated always as (%s) stored', pg_get_expr(d.adbin, d.adrelid))
                   when d.adbin is not null then 'default ' || pg_get_expr(d.adbin, d.adrelid) end,
              case a.attidentity when 'a' then 'generated always as identity' when 'd' then 'generated by default as identity' end
            ) as definition,
            case when a.attstorage <> t.typstorage then
              case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end end as storage,
            coalesce(e.typnamespace, t.typnamespace) = 'pg_catalog'::regnamespace as is_built_in
     from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
     join pg_type t on t.oid = a.atttypid left join pg_type e on e.oid = t.typelem and t.typlen = -1
     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where (${isOurs}) and c.relkind in ('r', 'p', 'm', 'f') and a.attnum > 0 and not a.attisdropped
     order by a.attrelid, a.attnum`,
  )

const withOptions = (options: string | null): string => (options === null ? '' : ` with (${options})`)
const createTable = ({ name, key, options }: Relation, columns: readonly Column[]): string[] => [
  `create table ${name} (\n  ${columns.map((column) => column.definition).join(',\n  ')}\n)${key === null ? '' : ` partition by ${key}`}${withOptions(options)}`,
  ...columns.flatMap(({ name: column, storage }) =>
    storage === null ? [] : [`alter table ${name} alter column ${column} set storage ${storage}`],
  ),
]
const createPartition = ({ name, parent, bound, key, options }: Relation): string =>
  `create table ${name} partition of ${parent} ${bound}${key === null ? '' : ` partition by ${key}`}${withOptions(options)}`

/** Returns the constraints and indexes of tables. Partitions get theirs from their partitioned table. Foreign keys are last. */
const listConstraintsAndIndexes = (client: ClientBase, tables: readonly Relation[]): Promise<string[]> =>
  textsOf(
    client,
    `select text from (
       select case contype when 'f' then 3 when 'c' then 2 else 0 end as rank, o.conrelid as relation, o.conname as name,
              format('alter table %s add constraint %I %s', o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid)) as text
       from pg_constraint o where o.conrelid = any ($1::oid[]) and o.contype in ('p', 'u', 'x', 'c', 'f') and o.conparentid = 0
         and (o.contype <> 'c' or not exists (select from pg_inherits where inhrelid = o.conrelid))
       union all
       select 1, i.indrelid, c.relname, replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
       from pg_index i join pg_class c on c.oid = i.indexrelid
       where i.indrelid = any ($1::oid[]) and not c.relispartition and i.indisvalid
         and not exists (select from pg_constraint o where o.conindid = i.indexrelid and o.contype in ('p', 'u', 'x'))
     ) as statement order by rank, relation::regclass::text, name`,
    [tables.map(({ oid }) => oid)],
  )

interface Sequence {
  readonly name: string
  readonly reference: string
  /** The statement that creates the sequence, or null for an identity column, whose table creates it. */
  readonly definition: string | null
  /** The statement that ties the sequence to its column, or null. */
  readonly owner: string | null
}
const listSequences = (client: ClientBase): Promise<Sequence[]> =>
  rowsOf(
    client,
    `select c.oid::regclass::text as name,
            case when d.deptype = 'i' then format('pg_get_serial_sequence(%L, %L)', d.refobjid::regclass::text, a.attname)
                 else format('%L::regclass', c.oid::regclass::text) end as reference,
            case when d.deptype is distinct from 'i' then
              format('create sequence %s as %s start %s increment %s minvalue %s maxvalue %s cache %s%s', c.oid::regclass, format_type(s.seqtypid, null),
                     s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, case when s.seqcycle then ' cycle' end) end as definition,
            case when d.deptype = 'a' then format('alter sequence %s owned by %s.%I', c.oid::regclass, d.refobjid::regclass, a.attname) end as owner
     from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
     left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.refobjsubid > 0 and d.deptype in ('a', 'i')
     left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
     where (${isOurs}) and not ${isOfExtension('pg_class', 'c.oid')} order by n.nspname, c.relname`,
  )

interface Described {
  readonly name: string
  readonly definition: string
  readonly is_kept: boolean
}
/** Returns the functions whose arguments and language belong to Postgres itself. Kolbak has only such functions. */
const listFunctions = (client: ClientBase): Promise<Described[]> =>
  rowsOf(
    client,
    `select p.oid::regprocedure::text as name, case when p.prokind in ('f', 'p') then rtrim(pg_get_functiondef(p.oid), e'\\n ') end as definition,
            p.prokind in ('f', 'p') and l.lanname in ('plpgsql', 'sql') and not exists (
              select from unnest(p.proallargtypes || p.proargtypes::oid[] || p.prorettype) as type
              join pg_type t on t.oid = type left join pg_type e on e.oid = t.typelem and t.typlen = -1
              where coalesce(e.typnamespace, t.typnamespace) <> 'pg_catalog'::regnamespace) as is_kept
     from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
     where (${isOurs}) and not ${isOfExtension('pg_proc', 'p.oid')} order by 1`,
  )
/** The views that a migration creates. */
const viewsOfMigrations = ['webhooks_cursor']
/** Returns the views. Each other view of Kolbak shows one table of a projection's build. */
const listViews = (client: ClientBase): Promise<Described[]> =>
  rowsOf(
    client,
    `select c.oid::regclass::text as name, format('create view %s as %s', c.oid::regclass, rtrim(pg_get_viewdef(c.oid), ';')) as definition,
            (select bool_and(rn.nspname ~ '^projection_') from pg_rewrite w join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
             join pg_class r on d.refclassid = 'pg_class'::regclass and r.oid = d.refobjid join pg_namespace rn on rn.oid = r.relnamespace
             where w.ev_class = c.oid and r.oid <> c.oid) is true or c.relname = any ($1::text[]) as is_kept
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where (${isOurs}) and c.relkind = 'v' and not ${isOfExtension('pg_class', 'c.oid')} order by c.oid`,
    [viewsOfMigrations],
  )
/** Returns triggers, policies and types, which are left out because Kolbak has none. */
const listOthers = (client: ClientBase): Promise<string[]> =>
  textsOf(
    client,
    `select format('trigger %I of %s', t.tgname, c.oid::regclass) as text from pg_trigger t join pg_class c on c.oid = t.tgrelid
     join pg_namespace n on n.oid = c.relnamespace where (${isOurs}) and not t.tgisinternal
     union all
     select format('policy %I of %s', p.polname, c.oid::regclass) from pg_policy p join pg_class c on c.oid = p.polrelid
     join pg_namespace n on n.oid = c.relnamespace where (${isOurs})
     union all
     select format('type %s', t.oid::regtype) from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
     where (${isOurs}) and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c') and not ${isOfExtension('pg_type', 't.oid')}`,
  )
