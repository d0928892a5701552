# The two macros that the extension calls. As with Slicer's own, what is listed and nothing
# else is copied, a listed file that does not exist is an error, and an unknown keyword too.

set(CMAKE_INSTALL_MESSAGE NEVER)

# Copies SCRIPTS (".py" may be left off) and RESOURCES, with the folders they are listed in, to
# DESTINATION_DIR, and installs that folder into INSTALL_DIR: as a folder of its own name, or
# only what is in it with NO_INSTALL_SUBDIR.
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(arg "NO_INSTALL_SUBDIR;GLOBAL_TARGET"
    "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR" "SCRIPTS;RESOURCES" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ctkMacroCompilePythonScript: unknown ${arg_UNPARSED_ARGUMENTS}")
  endif()
  foreach(name TARGET_NAME SCRIPTS DESTINATION_DIR INSTALL_DIR)
    if(NOT arg_${name})
      message(FATAL_ERROR "ctkMacroCompilePythonScript: ${name} is mandatory")
    endif()
  endforeach()
  if(NOT arg_SOURCE_DIR)
    set(arg_SOURCE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()

  list(TRANSFORM arg_SCRIPTS REPLACE "\\.py$" "")
  list(TRANSFORM arg_SCRIPTS APPEND ".py")
  foreach(file IN LISTS arg_SCRIPTS arg_RESOURCES)
    if(NOT EXISTS "${arg_SOURCE_DIR}/${file}")
      message(FATAL_ERROR "${arg_TARGET_NAME} lists '${file}', which does not exist")
    endif()
    get_filename_component(folder "${arg_DESTINATION_DIR}/${file}" DIRECTORY)
    file(COPY "${arg_SOURCE_DIR}/${file}" DESTINATION "${folder}")
  endforeach()

  set(installed "${arg_DESTINATION_DIR}")
  if(arg_NO_INSTALL_SUBDIR)
    string(APPEND installed "/")
  endif()
  install(DIRECTORY "${installed}" DESTINATION "${arg_INSTALL_DIR}")
endfunction()

# All modules of an extension share one folder.
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(arg "WITH_GENERIC_TESTS;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: unknown ${arg_UNPARSED_ARGUMENTS}")
  endif()
  ctkMacroCompilePythonScript(
    TARGET_NAME ${arg_NAME}
    SCRIPTS ${arg_SCRIPTS}
    RESOURCES ${arg_RESOURCES}
    DESTINATION_DIR "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}"
    INSTALL_DIR "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}"
    NO_INSTALL_SUBDIR
    )
endfunction()
