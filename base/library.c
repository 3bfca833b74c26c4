/* Opens shared libraries with dlopen and fills tables of function pointers with dlsym. A library is kept only
 * if every function is found, so that a call through the table never meets NULL. */
#include "base/library.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* The file behind a handle, as the loader found it. */
static const char *path_of(void *handle)
{
    struct link_map *map = NULL;
    return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map->l_name[0] ? map->l_name : "the program itself";
}

static void *open_first(const library *l, message *why)
{
    char tried[768] = "";
    size_t used = 0;
    for (const char *const *file = l->file; *file; file++) {
        void *handle = dlopen(*file, RTLD_NOW | RTLD_LOCAL);
        if (handle) return handle;
        /* The loader's text names the file, or the one among its dependencies that is missing. */
        const char *reason = dlerror();
        const int n =
            snprintf(tried + used, sizeof tried - used, "%s%s", used ? "; " : "", reason ? reason : *file);
        used = used + (size_t)n < sizeof tried ? used + (size_t)n : sizeof tried - 1;
    }
    fail(why, ERR_DEVICE, "the library %s cannot be loaded (LD_LIBRARY_PATH may name its folder): %s",
         l->what, tried);
    return NULL;
}

static status fill(const library *l, void *handle, message *why)
{
    char *place = l->table;
    for (const char *const *symbol = l->symbol; *symbol; symbol++, place += sizeof(void *)) {
        void *const function = dlsym(handle, *symbol);
        if (!function)
            return fail(why, ERR_DEVICE,
                        "the library %s (%s) has no %s: it is not of the version that is "
                        "needed",
                        l->what, path_of(handle), *symbol);
        memcpy(place, &function, sizeof function);
    }
    return OK;
}

static status open_library(library *l, message *why)
{
    void *const handle = open_first(l, why);
    if (!handle) return ERR_DEVICE;
    const status s = fill(l, handle, why);
    if (s == OK)
        l->handle = handle;
    else
        dlclose(handle);
    return s;
}

status library_open(library *l, message *why)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one_at_a_time);
    const status s = l->handle ? OK : open_library(l, why);
    pthread_mutex_unlock(&one_at_a_time);
    return s;
}
