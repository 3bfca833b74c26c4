# What REMLA_DEVICE=cuda and emu add. The same sources make both; they differ in who compiles the .cu files and in what
# is linked: nvcc and the CUDA runtime, or the host's C++ compiler and tests/emu.
#   remla_device          what every file that may call CUDA gets: headers, REMLA_CUDA=1, the runtime to link
#   cuda_objects(TARGET NAME SOURCE...)  adds .cu files to it
#   cuda_kernels(TARGET)  adds those of kernels/
if(DEFINED ENV{CUDA_HOME})
    set(CUDA_HOME $ENV{CUDA_HOME} CACHE PATH "the CUDA toolkit; emu needs its headers only")
else()
    set(CUDA_HOME /usr/local/cuda CACHE PATH "the CUDA toolkit; emu needs its headers only")
endif()
add_library(remla_device INTERFACE)
target_compile_definitions(remla_device INTERFACE REMLA_CUDA=1)

if(REMLA_DEVICE STREQUAL "cuda")
    if(NOT CMAKE_CUDA_COMPILER)
        find_program(CMAKE_CUDA_COMPILER nvcc HINTS ${CUDA_HOME}/bin REQUIRED)
    endif()
    # Ampere, Ada, Hopper, Blackwell in both kinds; what comes after the last compiles it when it starts. Kernels use nothing of
    # 90a and 100a, which would run on no other GPU of their generations (B300 is 103). nvcc before 12.8 knows none after 90.
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE nvcc)
    if(nvcc MATCHES "release ([0-9]+[.][0-9]+)" AND CMAKE_MATCH_1 VERSION_LESS 12.8)
        set(architectures 80-real 89-real 90)
    else()
        set(architectures 80-real 89-real 90-real 100-real 120)
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${architectures} CACHE STRING "GPUs to compile for")
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    foreach(header cudnn.h nccl.h)
        find_path(FOUND_${header} ${header} HINTS ${CUDA_HOME}/include)
        if(NOT FOUND_${header})
            message(FATAL_ERROR "${header} is missing: install the development packages of cuDNN and NCCL (libcudnn9-dev-cuda-13, libnccl-dev)")
        endif()
        target_include_directories(remla_device SYSTEM INTERFACE ${FOUND_${header}})
    endforeach()
    # A kernel that spills registers or indexes them is slower than it looks: it does not get in. Another nvcc than the one that was tried may
    # have other opinions, and only says so.
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_EQUAL 13.0.88)
        set(strict -Werror=all-warnings -Xptxas=-warn-spills,-warn-lmem-usage,-Werror)
    else()
        set(strict -Xptxas=-warn-spills,-warn-lmem-usage)
    endif()
    target_link_libraries(remla_device INTERFACE CUDA::cudart_static ${CMAKE_DL_LIBS})
    # Where the libraries that are opened at run time are looked for, after LD_LIBRARY_PATH: the toolkit's folder need not be among the system's.
    target_link_options(remla_device INTERFACE -Wl,--enable-new-dtags,-rpath,${CUDAToolkit_LIBRARY_DIR})
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
else()
    enable_language(CXX)
    set(CMAKE_CXX_STANDARD 17)
    set(CMAKE_CXX_STANDARD_REQUIRED ON)
    find_path(CUDA_INCLUDE NAMES cuda_runtime_api.h HINTS ${CUDA_HOME}/include REQUIRED)
    target_include_directories(remla_device SYSTEM INTERFACE ${CUDA_INCLUDE})
    # RPATH, not RUNPATH: LD_LIBRARY_PATH must not put the real libraries before the fake ones.
    target_link_options(remla_device INTERFACE -Wl,--disable-new-dtags)
    target_link_libraries(remla_device INTERFACE fakecuda)
    set(emulator "SHELL:-include ${CMAKE_SOURCE_DIR}/tests/emu/mma.h") # what base/cuda/simt.h and kernels/cuda/mma.h are for nvcc
endif()

# An object library of .cu files, which goes into a target.
function(cuda_objects target name)
    if(REMLA_DEVICE STREQUAL "emu")
        set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
    endif()
    add_library(${name} OBJECT ${ARGN})
    target_link_libraries(${name} PRIVATE remla_flags remla_device)
    target_compile_options(${name} PRIVATE
        "$<$<COMPILE_LANGUAGE:CUDA>:${strict};-Xcompiler=-Wall>"
        "$<$<COMPILE_LANGUAGE:CXX>:${emulator}>"
        "$<$<COMPILE_LANGUAGE:CXX>:-Wno-unknown-pragmas;$<$<CXX_COMPILER_ID:GNU>:-Wno-class-memaccess;-Wno-maybe-uninitialized>;${emu_sanitizer}>")
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${name}>)
endfunction()

# Both storages of the .cu files of kernels/, like the two compilations of every op's .c file.
function(cuda_kernels target)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.cu ${CMAKE_SOURCE_DIR}/kernels/cuda/attention/*.cu)
    foreach(storage f32 bf16)
        cuda_objects(${target} ${target}_cuda_${storage} ${sources})
    endforeach()
    target_compile_definitions(${target}_cuda_bf16 PRIVATE STORAGE_BF16)
endfunction()

if(REMLA_SANITIZE STREQUAL "thread")
    set(emu_sanitizer -fsanitize=thread -fno-omit-frame-pointer) # of kernels alone: tests/emu switches stacks, the rest has real threads
    target_link_options(remla_device INTERFACE -fsanitize=thread)
endif()
