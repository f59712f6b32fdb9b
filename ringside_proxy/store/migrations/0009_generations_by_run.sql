-- A run's open generation is found among its few generations by (run, number), which is there anyway.
DROP INDEX generations_open;
