/* Makes a receiver that does not sync as durable as one that does: every file it wrote is synced before it is closed.
 * Built by receive.py, loaded into DCMTK's storescp with LD_PRELOAD. The folder is not synced: that is the least it takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int fclose(FILE *file)
{
    static int (*next)(FILE *);
    struct stat about;
    int descriptor = fileno(file);
    if (!next)
        next = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    if (descriptor >= 0 && (fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_RDONLY &&
        fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode)) {
        fflush(file);
        fsync(descriptor);
    }
    return next(file);
}
