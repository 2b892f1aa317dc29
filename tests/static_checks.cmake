# Tests of the sources themselves, each a program that ctest starts: layers, format, headers, compile_fail, install.
find_package(Python3 COMPONENTS Interpreter REQUIRED)

add_test(NAME layers:includes_point_downwards COMMAND Python3::Interpreter layers/check_layers.py ${PROJECT_SOURCE_DIR}
         WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
add_test(NAME layers:the_check_catches_what_it_is_for COMMAND Python3::Interpreter layers/check_layers.py --self-test
         WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(layers:includes_point_downwards layers:the_check_catches_what_it_is_for PROPERTIES LABELS layers)

add_test(NAME format:sources_are_laid_out_as_clang_format_says COMMAND ${PROJECT_SOURCE_DIR}/tools/format check)
set_tests_properties(format:sources_are_laid_out_as_clang_format_says PROPERTIES LABELS format PROCESSORS 2)

# How a user compiles against the library in this tree.
set(user_compile ${CMAKE_CXX_COMPILER} -std=c++20 -Wall -Wextra -Wpedantic -Werror -I${PROJECT_SOURCE_DIR}/include)
foreach(definition IN LISTS sennit_definitions)
  list(APPEND user_compile -D${definition})
endforeach()

# The same through the compiler cache, where there is one.
set(user_compile_cached ${CMAKE_CXX_COMPILER_LAUNCHER} ${user_compile})

# ---- headers: each compiles alone, and twice in one file
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/sennit/*.hpp)
foreach(header IN LISTS headers)
  if(header MATCHES "/impl/model" AND NOT SENNIT_MODEL)
    continue()
  endif()
  add_test(NAME headers:${header} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/headers/compiles_alone.sh
           ${CMAKE_CURRENT_BINARY_DIR}/headers ${header} ${user_compile_cached})
  set_tests_properties(headers:${header} PROPERTIES LABELS headers)
endforeach()
add_test(NAME headers:the_cost_of_including COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/headers/cost.sh ${PROJECT_SOURCE_DIR}/include ${user_compile})
set_tests_properties(headers:the_cost_of_including PROPERTIES LABELS headers RUN_SERIAL ON)

# ---- README: its programs compile, run, and print what it says
add_test(NAME readme:the_programs_of_the_tour_print_what_it_says
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/readme/check_readme.py run ${PROJECT_SOURCE_DIR}/README.md
                 $<TARGET_FILE:sennit>$<$<BOOL:${SENNIT_IO_URING}>:$<COMMA>-luring> ${user_compile_cached})
add_test(NAME readme:both_languages_show_the_same_programs
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/readme/check_readme.py same ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/README.zh-CN.md)
set_tests_properties(readme:the_programs_of_the_tour_print_what_it_says readme:both_languages_show_the_same_programs
                     PROPERTIES LABELS readme)

# ---- compile_fail
file(GLOB refused CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp)
foreach(source IN LISTS refused)
  cmake_path(GET source STEM name)
  add_test(NAME compile_fail:${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/check.sh ${source} ${user_compile})
  set_tests_properties(compile_fail:${name} PROPERTIES LABELS compile_fail)
endforeach()

# ---- Promela
file(GLOB models CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/model/*.pml)
foreach(source IN LISTS models)
  cmake_path(GET source STEM name)
  add_test(NAME model:${name}_has_no_error_and_its_mutants_have COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/model/check_spin.sh ${source})
  set_tests_properties(model:${name}_has_no_error_and_its_mutants_have PROPERTIES LABELS model TIMEOUT 600)
endforeach()

# ---- the doors
if(TARGET sennit_tool AND PROJECT_BINARY_DIR STREQUAL "${PROJECT_SOURCE_DIR}/build/dev") # the tree that ./run is told to use
  add_test(NAME doors:run_gives_the_sums_that_find_and_sha256sum_give COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/doors/run.sh ${PROJECT_SOURCE_DIR})
  set_tests_properties(doors:run_gives_the_sums_that_find_and_sha256sum_give PROPERTIES LABELS doors RUN_SERIAL ON)
endif()

# ---- install
if(SENNIT_INSTALL)
  foreach(kind IN ITEMS static shared)
    add_test(NAME install:an_outside_project_builds_and_runs_against_${kind}
             COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/check.sh ${kind} ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR} ${CMAKE_CXX_COMPILER})
    set_tests_properties(install:an_outside_project_builds_and_runs_against_${kind} PROPERTIES LABELS install TIMEOUT 900)
  endforeach()
endif()
