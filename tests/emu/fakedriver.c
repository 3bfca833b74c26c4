/* What cuDNN asks of a driver while it plans for a device that is not there: to be one, and to take the
 * kernels that it compiles. The real driver's other functions, listed from the toolkit's stub when this is
 * built, succeed and do nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

enum { OK = 0, NO_DEVICE = 100, NOT_FOUND = 500, VERSION = 13000 };
static char something; /* what every handle points to */

int cuInit(unsigned flags);
int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    *version = VERSION;
    return OK;
}

int cuGetExportTable(const void **table, const void *id);
int cuGetExportTable(const void **table, const void *id)
{
    (void)id;
    *table = NULL;
    return NOT_FOUND;
}

int cuGetErrorString(int code, const char **text);
int cuGetErrorString(int code, const char **text)
{
    (void)code;
    *text = "a driver that does nothing";
    return OK;
}

/* The first argument is where the handle goes; of the others nothing is looked at. */
#define GIVES_HANDLE(function)                                                                               \
    int function(void **handle);                                                                             \
    int function(void **handle)                                                                              \
    {                                                                                                        \
        *handle = &something;                                                                                \
        return OK;                                                                                           \
    }
GIVES_HANDLE(cuLibraryLoadData)
GIVES_HANDLE(cuLibraryGetKernel)
GIVES_HANDLE(cuLibraryGetModule)
GIVES_HANDLE(cuKernelGetFunction)
GIVES_HANDLE(cuModuleLoadData)
GIVES_HANDLE(cuModuleLoadDataEx)
GIVES_HANDLE(cuModuleGetFunction)

#define GIVES_ZERO(function)                                                                                 \
    int function(int *value);                                                                                \
    int function(int *value)                                                                                 \
    {                                                                                                        \
        *value = 0;                                                                                          \
        return OK;                                                                                           \
    }
GIVES_ZERO(cuKernelGetAttribute)
GIVES_ZERO(cuFuncGetAttribute)

int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *found);
int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *found)
{
    (void)version;
    (void)flags;
    void *const self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *function = self ? dlsym(self, symbol) : NULL;
    if (found) *found = *function == NULL;
    return *function ? OK : NOT_FOUND;
}

int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
