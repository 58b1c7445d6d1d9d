import pg from 'pg'

/** Records a migration in the database, as another version of Kolbak would. */
export const recordMigration = async (url: string, name: string) => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(
    'create table if not exists schema_migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)',
  )
  await client.query('insert into schema_migrations (name, run_on) values ($1, now())', [name])
  await client.end()
}
