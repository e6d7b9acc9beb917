# How a room becomes a target.
#
#   colony_room(base LIBS spdlog::spdlog)
#
# makes the static library colony_<room> of all src/<room>/*.cc but the tests, and the test binary
# <room>_tests of all *_test.cc and *_prop_test.cc beside them, registered with ctest test by test.
# A test whose name (suite or case) begins with "Slow" gets the ctest label "slow", all others "quick".

find_package(GTest REQUIRED)
find_package(Threads REQUIRED)
include(GoogleTest)

add_library(colony_flags INTERFACE)
target_include_directories(colony_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(colony_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Werror
  -ffp-contract=off  # the same sums on every machine: fused multiply-add only where a kernel asks for it
  -fno-math-errno
  "-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(colony_flags INTERFACE -Wthread-safety -Wno-sign-conversion)
else()
  # g++ 12 warns of overlaps inside its own std::string (GCC bug 105329).
  target_compile_options(colony_flags INTERFACE -Wno-sign-conversion -Wno-restrict)
endif()
if(COLONY_SANITIZE)
  target_compile_options(colony_flags INTERFACE
    -fsanitize=${COLONY_SANITIZE} -fno-omit-frame-pointer -O1 -g1)
  if(NOT COLONY_SANITIZE STREQUAL "thread")
    target_compile_options(colony_flags INTERFACE -fno-sanitize-recover=all)
  endif()
  target_link_options(colony_flags INTERFACE -fsanitize=${COLONY_SANITIZE})
endif()
if(COLONY_FUZZ)
  target_compile_options(colony_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_link_libraries(colony_flags INTERFACE Threads::Threads)

find_program(COLONY_CCACHE ccache)
if(COLONY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Relative paths, so that two checkouts share one cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${COLONY_CCACHE})
endif()

# Adds a test binary NAME of SOURCES, linked with LIBS. Tests run in the source folder.
function(colony_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} colony_flags GTest::gtest_main)
  gtest_discover_tests(${name}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    TEST_FILTER -Slow*:*.Slow*
    PROPERTIES LABELS quick TIMEOUT 300
    DISCOVERY_TIMEOUT 120)
  gtest_discover_tests(${name}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    TEST_FILTER Slow*:*.Slow*
    TEST_LIST ${name}_slow
    PROPERTIES LABELS slow TIMEOUT 1800
    DISCOVERY_TIMEOUT 120)
endfunction()

function(colony_room room)
  cmake_parse_arguments(ARG "" "" "LIBS;TEST_LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/commands/*.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$|/main\\.cc$")
  if(sources)
    add_library(colony_${room} STATIC ${sources})
    target_link_libraries(colony_${room} PUBLIC ${ARG_LIBS} PRIVATE colony_flags)
    target_include_directories(colony_${room} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  else()
    add_library(colony_${room} INTERFACE)
    target_link_libraries(colony_${room} INTERFACE ${ARG_LIBS})
  endif()
  if(tests AND NOT COLONY_FUZZ)
    colony_test(${room}_tests SOURCES ${tests} LIBS colony_${room} ${ARG_TEST_LIBS})
  endif()
endfunction()
