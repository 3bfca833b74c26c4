/* Removes a folder of temporary files when a signal ends the program: for work that cannot be resumed. */
#ifndef REMLA_BASE_SWEEP_H
#define REMLA_BASE_SWEEP_H

/* From now on SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2 and SIGXCPU, where they are not ignored,
 * first remove the files in `folder` and the folder itself (it has no folders inside), say so on standard
 * error, and then kill as before. Copies the path, of less than PATH_BYTES. One folder at a time; NULL ends
 * it. */
void sweep_on_signal(const char *folder);

#endif
