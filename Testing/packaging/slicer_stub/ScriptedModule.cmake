# What Slicer's macro of this name does to files, in our own words: each script and resource is copied, under the
# name it is listed by, to the folder of scripted modules in the build tree (WITH_SUBDIR: to a folder there that
# is named like the source folder), and that folder is installed as it is. A file that is not there is an error.
# Left out: byte compilation, translations, generic tests.
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(PARSE_ARGV 0 given "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES")
  if(given_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown arguments: ${given_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT given_NAME)
    message(FATAL_ERROR "NAME is missing")
  endif()

  set(staging "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
  set(installed "${staging}/") # the slash: what is in the folder, not the folder
  if(given_WITH_SUBDIR)
    cmake_path(GET CMAKE_CURRENT_SOURCE_DIR FILENAME folder)
    string(APPEND staging "/${folder}")
    set(installed "${staging}")
  endif()

  set(copies)
  foreach(file IN LISTS given_SCRIPTS given_RESOURCES)
    if(file IN_LIST given_SCRIPTS AND NOT file MATCHES "[.]py$")
      string(APPEND file ".py") # scripts may be listed without it
    endif()
    set(source "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
    if(NOT EXISTS "${source}")
      message(FATAL_ERROR "${given_NAME} lists ${file}, which does not exist")
    endif()
    add_custom_command(
      OUTPUT "${staging}/${file}"
      COMMAND "${CMAKE_COMMAND}" -E copy "${source}" "${staging}/${file}"
      DEPENDS "${source}"
      VERBATIM
      )
    list(APPEND copies "${staging}/${file}")
  endforeach()
  # The real macro makes several targets named after the module: two modules of one name would clash.
  add_custom_target(Copy${given_NAME}PythonFiles ALL DEPENDS ${copies})
  install(DIRECTORY "${installed}" DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}"
    COMPONENT RuntimeLibraries USE_SOURCE_PERMISSIONS)
endfunction()

function(slicer_add_python_unittest)
  cmake_parse_arguments(PARSE_ARGV 0 given "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS")
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${given_SCRIPT}")
    message(FATAL_ERROR "the test ${given_SCRIPT} does not exist")
  endif()
endfunction()
