-- The messages of a run are found by `items_of_run`, which has the same columns and is there for all
-- of a run's items: of the two, no statement's plan ever took this one, and each answer wrote it.
DROP INDEX items_messages_of_run;
