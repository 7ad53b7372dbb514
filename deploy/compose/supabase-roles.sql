-- The password of the roles as which PostgREST and Storage connect. Run once, when the database is created.
\set password `echo "$POSTGRES_PASSWORD"`
alter role authenticator with password :'password';
alter role supabase_storage_admin with password :'password';
